"""Final names: one of several gets it, the others are compared (F38, F39, F41; T-015, T-016)."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from adapter.domain.records import Duplicate
from adapter.errors import StorageFaultError
from adapter.protocols.dimse.file_meta import FileMetaWriter
from adapter.store.naming import COPIES_MAX, name_instance

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
POLICIES = ["keep-first", "replace", "keep-both"]


def received(folder, content, sender="CT1", name="part"):
    """Write a Part 10 file as an association of this sender would."""
    path = folder / name
    path.write_bytes(b"".join([FileMetaWriter(CT, EXPLICIT, sender).encode("1.2.3"), content]))
    return str(path)


@pytest.fixture
def final(tmp_path):
    (tmp_path / "series").mkdir()
    return str(tmp_path / "series" / "1.2.3.dcm")


def contents(final):
    folder = os.path.dirname(final)
    found = {}
    for name in sorted(os.listdir(folder)):
        with open(f"{folder}/{name}", "rb") as file:
            found[name] = file.read()
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_first_of_its_name_is_no_duplicate(tmp_path, final, policy):
    assert name_instance(received(tmp_path, b"x"), final, policy) is None
    assert len(contents(final)) == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_same_data_set_from_another_sender_does_not_differ(tmp_path, final, policy):
    """File Meta Information says who sent it; that is not the instance."""
    name_instance(received(tmp_path, b"x" * 3000, "CT1"), final, policy)
    before = contents(final)
    other = received(tmp_path, b"x" * 3000, "ANOTHER_SENDER", "other")
    duplicate = name_instance(other, final, policy)
    assert duplicate is not None
    assert not duplicate.differs
    assert contents(final) == before


@pytest.mark.parametrize("other", [b"y" * 3000, b"x" * 2999 + b"y", b"x" * 3001, b"x"])
@pytest.mark.parametrize("policy", POLICIES)
def test_what_differs_is_told_and_kept_by_the_policy(tmp_path, final, policy, other):
    name_instance(received(tmp_path, b"x" * 3000), final, policy)
    (first,) = contents(final).values()
    path = received(tmp_path, other, name="other")
    with open(path, "rb") as file:
        second = file.read()
    kept = {"keep-first": "first", "replace": "last", "keep-both": "both"}[policy]
    assert name_instance(path, final, policy) == Duplicate(differs=True, kept=kept)
    assert (
        contents(final)
        == {
            "keep-first": {"1.2.3.dcm": first},
            "replace": {"1.2.3.dcm": second},
            "keep-both": {"1.2.3.dcm": first, "1.2.3_2.dcm": second},
        }[policy]
    )


def test_each_of_several_that_differ_is_kept_once(tmp_path, final):
    for number in range(4):
        for sender in ("CT1", "CT2"):
            path = received(tmp_path, b"%d" % number, sender, f"{number}{sender}")
            name_instance(path, final, "keep-both")
    assert list(contents(final)) == ["1.2.3.dcm", "1.2.3_2.dcm", "1.2.3_3.dcm", "1.2.3_4.dcm"]


def test_copies_of_an_instance_have_a_limit(tmp_path, final):
    for number in range(COPIES_MAX):
        name_instance(received(tmp_path, b"%d" % number, name=f"p{number}"), final, "keep-both")
    with pytest.raises(StorageFaultError, match="copies that differ"):
        name_instance(received(tmp_path, b"one more", name="more"), final, "keep-both")
    assert len(contents(final)) == COPIES_MAX


def test_folder_that_has_gone_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        name_instance(received(tmp_path, b"x"), str(tmp_path / "gone" / "1.dcm"), "keep-first")


@pytest.mark.parametrize("policy", POLICIES)
def test_same_instance_from_many_senders_at_once_is_kept_once_and_whole(tmp_path, final, policy):
    """F41, peers: dcm4che#1103; exactly one link wins."""
    senders, chunk = 8, 1 << 16
    paths = [received(tmp_path, bytes([n]) * chunk, name=f"part{n}") for n in range(senders)]
    barrier = Barrier(senders)

    def commit(path):
        barrier.wait()
        return name_instance(path, final, policy)

    with ThreadPoolExecutor(senders) as pool:
        answers = list(pool.map(commit, paths))
    assert answers.count(None) == 1
    assert all(answer is None or answer.differs for answer in answers)
    stored = contents(final)
    assert len(stored) == (senders if policy == "keep-both" else 1)
    bodies = [content[-chunk:] for content in stored.values()]
    assert all(body == bytes([body[0]]) * chunk for body in bodies)
    assert len(set(bodies)) == len(bodies)
    if policy == "keep-first":
        assert bodies == [bytes([answers.index(None)]) * chunk]

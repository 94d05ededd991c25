"""Identifiers: what may become part of a path, and ids that are derived."""

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.identifiers import (
    AE_TITLE_LENGTH_MAX,
    JOB_NAME_LENGTH_MAX,
    UID_LENGTH_MAX,
    export_id,
    is_ae_title,
    is_id,
    is_relative_path,
    is_uid,
    job_id,
    job_name,
    path_part,
)

uids = st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,6}){0,7}", fullmatch=True).filter(
    lambda uid: len(uid) <= UID_LENGTH_MAX
)


@pytest.mark.parametrize("uid", ["1", "1.2.840.10008.1.1", "2.25.0", "1.02.3", "1" * 64])
def test_uid_of_the_standards_form_is_one(uid):
    assert is_uid(uid)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1.",
        ".1",
        "1..2",
        "1.2\n",
        " 1.2",
        "1.2\0",
        "1.a",
        "1" * 65,
        "\u0661.2",
        "../1",
        "-1",
    ],
)
def test_anything_else_is_no_uid(text):
    assert not is_uid(text)


@pytest.mark.parametrize("title", ["A", "MODALITY 1", "x" * AE_TITLE_LENGTH_MAX, "~!{}[]", " A "])
def test_printable_ascii_is_an_ae_title(title):
    assert is_ae_title(title)


@pytest.mark.parametrize("text", ["", "   ", "A\\B", "A\n", "\x7f", "x" * 17, "\u00c4E", "A\tB"])
def test_anything_else_is_no_ae_title(text):
    assert not is_ae_title(text)


@pytest.mark.parametrize("text", ["", "-a", "A", "a/b", "a.b", "a\n", ".", "..", "a" * 65, "a b"])
def test_id_of_another_form_is_refused(text):
    assert not is_id(text)


@given(uids)
def test_uid_is_its_own_path_part(uid):
    assert path_part(uid) == uid


@given(st.text(max_size=80))
def test_path_part_is_always_one_safe_name(text):
    part = path_part(text)
    assert re.fullmatch(r"[x0-9a-f.]{1,64}", part)
    assert part not in (".", "..")


@given(st.text(max_size=40), st.text(max_size=40))
def test_different_names_get_different_path_parts(one, other):
    assert (path_part(one) == path_part(other)) == (one == other)


def test_job_id_is_the_same_for_the_same_group_and_pipeline():
    assert job_id("group-1", "brain") == job_id("group-1", "brain")
    assert len({job_id(g, p) for g in ("group-1", "group-2") for p in ("a", "b")}) == 4


@given(st.text(), st.text())
def test_derived_ids_have_the_form_of_ids(one, other):
    assert is_id(job_id(one, other))
    assert is_id(export_id(one, other))


def test_export_id_differs_by_destination():
    assert export_id("job-1", "pacs") != export_id("job-1", "archive")


@pytest.mark.parametrize(
    ("title", "pipeline", "name"),
    [
        ("BRAIN", "seg_v2", "brain-seg-v2-20260102030405"),
        ("-A-", "--x--", "a-x-20260102030405"),
        ("A B", "x", "a-b-x-20260102030405"),
        ("A", "Stra\u00dfe \u212a", "a-stra-e-20260102030405"),  # a Kelvin sign is no k
        ("A", "x" * 80, f"a-{'x' * 61}"),
        ("A", f"{'x' * 60}__", f"a-{'x' * 60}"),  # cut behind the hyphen, which goes as well
        ("A", "\u808c", "a-20260102030405"),
    ],
)
def test_job_name_is_claras(title, pipeline, name):
    """What Clara's rule makes of it; the length is cut at the end, time stamp first."""
    assert job_name(title, pipeline, "20260102030405") == name


@given(st.text(max_size=30), st.text(max_size=60))
def test_job_name_is_lower_case_words_joined_by_hyphens(title, pipeline):
    name = job_name(title, pipeline, "20260102030405")
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert len(name) <= JOB_NAME_LENGTH_MAX


@pytest.mark.parametrize(
    "text", ["a", "a/b.dcm", "größe & maß.dcm", "%2e%2e", "...", ".hidden", "-rf", "a b/ c"]
)
def test_name_that_leads_down_is_a_relative_path(text):
    assert is_relative_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\\b", "a\0", "a\nb",
        "\x85", "\u2028", "\ud800", "x" * 256, "é" * 128, "/".join("a" * 17),
        "/".join(["a" * 200] * 6),
    ],
)  # fmt: skip
def test_name_that_leads_elsewhere_or_nowhere_is_none(text):
    assert not is_relative_path(text)


@given(st.text())
def test_relative_path_stays_below_its_folder(text):
    if is_relative_path(text):
        joined = PurePosixPath("/folder", text)
        assert joined.is_relative_to("/folder")
        assert ".." not in joined.parts
        assert str(joined) == f"/folder/{text}"

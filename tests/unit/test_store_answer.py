"""What a STOW-RS service says, in its two languages and in those of careless ones."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.protocols.dicomweb.http_verdict import LISTING, UNAVAILABLE, refusal
from adapter.protocols.dicomweb.store_answer import XML_DEPTH_MAX, NoListError, read_answer

UID = "1.2.3"
STORED, FAILED = "00081199", "00081198"


def item(uid=UID, **more):
    attributes = {"00081150": ["1.2.840.10008.5.1.4.1.1.2"], "00081155": [uid], **more}
    return {tag: {"vr": "UI", "Value": value} for tag, value in attributes.items()}


def listing(stored=(), failures=()):
    return json.dumps({
        STORED: {"vr": "SQ", "Value": list(stored)},
        FAILED: {"vr": "SQ", "Value": list(failures)},
    }).encode()  # fmt: skip


def as_xml(stored=(), failures=(), prefix=""):
    def element(name, inside, attributes=""):
        return f"<{prefix}{name}{attributes}>{inside}</{prefix}{name}>"

    def attribute(tag, inside):
        return element("DicomAttribute", inside, f' tag="{tag}" vr="UN"')

    def sequence(tag, items):
        return attribute(tag, "".join(
            element("Item", "".join(
                attribute(t, element("Value", a["Value"][0])) for t, a in one.items()
            ))
            for one in items
        ))  # fmt: skip

    space = f' xmlns:{prefix[:-1]}="x"' if prefix else ""
    both = sequence(STORED, stored) + sequence(FAILED, failures)
    return f'<?xml version="1.0"?>\n{element("NativeDicomModel", both, space)}'.encode()


LANGUAGES = {
    "JSON": listing,
    "JSON in a list": lambda *args: b"[" + listing(*args) + b"]",
    "XML": as_xml,
    "XML with a prefix": lambda *args: as_xml(*args, prefix="n:"),
    "JSON behind a byte order mark": lambda *args: b"\xef\xbb\xbf\r\n" + listing(*args),
}
languages = pytest.mark.parametrize("language", LANGUAGES)


@languages
def test_stored_instance_is_delivered(language):
    result = read_answer(LANGUAGES[language]([item()])).result(UID, 200)
    assert (result.status, result.error) == (0, "")


@languages
def test_warning_reason_is_its_status(language):
    stored = [item(**{"00081196": [0xB000]})]
    assert read_answer(LANGUAGES[language](stored)).result(UID, 200).status == 0xB000


@languages
@pytest.mark.parametrize(
    ("reason", "permanent"), [(0xA700, False), (0x0110, False), (0xA900, True), (0xC122, True)]
)
def test_failure_reason_is_its_status(language, reason, permanent):
    failures = [item(**{"00081197": [reason]})]
    result = read_answer(LANGUAGES[language]([], failures)).result(UID, 409)
    assert (result.status, result.permanent) == (reason, permanent)
    assert f"0x{reason:04X}" in result.error


@languages
def test_instance_that_is_in_neither_list_has_failed(language):
    result = read_answer(LANGUAGES[language]([item("1.2.99")])).result(UID, 200)
    assert (result.status, result.permanent) == (0x0110, False)
    assert result.error == "the answer (200) does not list this instance"


@languages
def test_instance_in_both_lists_has_failed(language):
    answer = read_answer(LANGUAGES[language]([item()], [item(**{"00081197": [0xA700]})]))
    assert answer.result(UID, 202).status == 0xA700


@pytest.mark.parametrize("reason", [None, 0, 0xB000, -1, 70_000, "x", True, [], {}, 1.5])
def test_failure_is_none_whatever_reason_it_gives(reason):
    failures = [item(**{"00081197": [reason]})]
    result = read_answer(listing([], failures)).result(UID, 409)
    assert (result.status, result.permanent) == (0x0110, False)
    assert "failed" in result.error


def test_failure_without_any_reason_is_one():
    assert "without a reason" in read_answer(listing([], [item()])).result(UID, 409).error


def test_numbers_may_be_written_as_text():
    failures = [item(**{"00081197": ["42752"]})]
    assert read_answer(listing([], failures)).result(UID, 409).status == 0xA700


def test_odd_warning_is_still_stored():
    assert read_answer(listing([item(**{"00081196": [7]})])).result(UID, 200).status == 0


NO_LISTS = {
    "nothing": b"",
    "HTML": b"<html><body>log in</body></html>",
    "half of JSON": listing([item()])[:-4],
    "half of XML": as_xml([item()])[:-4],
    "empty object": b"{}",
    "empty list": b"[]",
    "a number": b"1",
    "no sequence": b'{"00081199": 7, "00081198": {"Value": 8}}',
    "no items": b'{"00081199": {"Value": [1, null, "x", []]}}',
    "UID of another type": listing([{"00081155": {"Value": [7]}}]),
    "deep JSON": b'{"00081199":' * 9000 + b"1" + b"}" * 9000,
    "deep XML": b"<NativeDicomModel>" * (XML_DEPTH_MAX + 1),
    "not UTF-8": b'{"00081199": {"Value": [{"00081155": {"Value": ["\xff"]}}]}}',
    "unknown encoding": b'<?xml version="1.0" encoding="odd"?><NativeDicomModel/>',
    "entities": b'<!DOCTYPE a [<!ENTITY b "c">]>' + as_xml([item()])[22:],
    "a file of this machine": b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><NativeDicomModel/>',
    "another root": as_xml([item()]).replace(b"NativeDicomModel", b"Other"),
}


@pytest.mark.parametrize("case", NO_LISTS)
def test_what_lists_no_instances_is_no_answer(case):
    with pytest.raises(NoListError):
        read_answer(NO_LISTS[case])


@given(st.binary() | st.text().map(str.encode) | st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from([STORED, FAILED, "Value", "00081155", "00081197"]), inner
    ),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_nothing_that_comes_is_an_unexpected_error(body):
    try:
        answer = read_answer(body)
    except NoListError:
        return
    assert answer.stored or answer.failed


def test_no_refusal_is_a_delivery():
    for status in set(range(300, 600)) - LISTING - UNAVAILABLE:
        result, _ = refusal(status)
        assert (result.status, result.permanent) == (
            (None, True) if status < 500 else (0x0110, False)
        )
        assert f"({status})" in result.error

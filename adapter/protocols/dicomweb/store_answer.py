"""What a STOW-RS service says it stored (PS3.18 10.5.3), in JSON (F.2) or XML (PS3.19 A.1).

Pure: bytes in, results out. Only an instance that the answer lists as stored is delivered; whatever
it says of others, and an answer that is no list at all, is no delivery.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from xml.parsers import expat

import msgspec
from msgspec import Struct

from adapter.domain.dimse_ports import SendResult
from adapter.domain.statuses import (
    PROCESSING_FAILURE,
    SUCCESS,
    is_success,
    is_transient,
    status_words,
)

REFERENCED_SOP_SEQUENCE = "00081199"
FAILED_SOP_SEQUENCE = "00081198"
REFERENCED_SOP_INSTANCE_UID = "00081155"
WARNING_REASON = "00081196"
FAILURE_REASON = "00081197"
_SEQUENCES = (REFERENCED_SOP_SEQUENCE, FAILED_SOP_SEQUENCE)
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
XML_DEPTH_MAX = 16
"""A list of items needs 5."""
WORDS_MAX = 1024


class NoListError(Exception):
    """An answer that lists no instances."""


class StoreAnswer(Struct, frozen=True):
    """What became of instances, by SOP Instance UID; the value is the reason, if any was given."""

    stored: Mapping[str, int | None]
    failed: Mapping[str, int | None]

    def result(self, sop_instance_uid: str, http_status: int) -> SendResult:
        """Return what it says of one instance."""
        if sop_instance_uid in self.failed:
            return failed(self.failed[sop_instance_uid])
        if sop_instance_uid not in self.stored:
            return unexplained(f"the answer ({http_status}) does not list this instance")
        warning = self.stored[sop_instance_uid]
        return SendResult(status=warning if warning and is_success(warning) else SUCCESS)


def unexplained(words: str) -> SendResult:
    """Return the result of a failure that DICOM has no other status for; it may be tried again."""
    return SendResult(status=PROCESSING_FAILURE, error=words)


def failed(reason: int | None) -> SendResult:
    """Return the result for an instance of the Failed SOP Sequence (PS3.18 10.5.3.2)."""
    if reason is None:
        return unexplained("listed as failed, without a reason")
    if is_success(reason):  # nobody may take that for a delivery
        return unexplained(f"listed as failed, with {status_words(reason)}")
    permanent = not is_transient(reason)
    return SendResult(status=reason, error=status_words(reason), permanent=permanent)


def read_answer(body: bytes) -> StoreAnswer:
    """Read a body, by what it is: services are careless with Content-Type.

    Raises:
        NoListError: It is neither JSON nor XML that lists instances.
    """
    text = body.lstrip(b" \t\r\n\xef\xbb\xbf")
    lists = _from_xml(body) if text.startswith(b"<") else _from_json(text)
    stored, failures = (dict(_reasons(items)) for items in lists)
    if not stored and not failures:
        raise NoListError
    return StoreAnswer(stored, failures)


Item = dict[str, object]
"""First value by tag."""


def _reasons(items: list[Item]) -> Iterator[tuple[str, int | None]]:
    for item in items:
        uid = item.get(REFERENCED_SOP_INSTANCE_UID)
        if isinstance(uid, str):
            reason = item.get(FAILURE_REASON, item.get(WARNING_REASON))
            yield uid.strip(" \0"), _number(reason)


def _number(value: object) -> int | None:
    """Return a US; some services write it as a string (and all of XML is one)."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        value = int(value)
    is_us = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFFFF
    return int(value) if is_us and isinstance(value, int) else None


def _from_json(text: bytes) -> tuple[list[Item], list[Item]]:
    try:
        answer = msgspec.json.decode(text)
    except _NO_JSON as error:
        raise NoListError from error
    if isinstance(answer, list) and len(answer) == 1:  # as QIDO-RS would have it
        answer = answer[0]
    stored, failures = ([*_json_items(answer, tag)] for tag in _SEQUENCES)
    return stored, failures


def _json_items(answer: Any, tag: str) -> Iterator[Item]:
    for item in _values(answer, tag):
        wanted = (REFERENCED_SOP_INSTANCE_UID, FAILURE_REASON, WARNING_REASON)
        yield {tag: values[0] for tag in wanted if (values := _values(item, tag))}


def _values(attributes: Any, tag: str) -> list[Any]:
    attribute = attributes.get(tag) if isinstance(attributes, dict) else None
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values if isinstance(values, list) else []


def _from_xml(body: bytes) -> tuple[list[Item], list[Item]]:
    reader = _XmlReader()
    try:
        reader.parser.Parse(body, True)
    except (
        expat.ExpatError,
        UnicodeDecodeError,
        LookupError,
    ) as error:  # LookupError: its encoding
        raise NoListError from error
    return reader.items[REFERENCED_SOP_SEQUENCE], reader.items[FAILED_SOP_SEQUENCE]


class _XmlReader:
    """Collects the items of both sequences while it parses."""

    def __init__(self) -> None:
        self.items: dict[str, list[Item]] = {tag: [] for tag in _SEQUENCES}
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._refuse  # no entities, of any kind
        self._path: list[str] = []
        self._words = ""

    def _refuse(self, *_: object) -> None:
        raise NoListError

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) == XML_DEPTH_MAX:
            raise NoListError
        name = name.rpartition(":")[2]
        self._path.append(attributes.get("tag", "").upper() if name == "DicomAttribute" else name)
        self._words = ""
        if (items := self._sequence("Item", 3)) is not None:
            items.append({})

    def _text(self, words: str) -> None:
        if len(self._words) < WORDS_MAX:  # what counts is a UID or a number
            self._words += words

    def _end(self, _: str) -> None:
        if (items := self._sequence("Value", 5)) is not None and items:
            items[-1].setdefault(self._path[3], self._words)
        self._path.pop()

    def _sequence(self, name: str, depth: int) -> list[Item] | None:
        """Return the items of the sequence this is in; None: it is something else."""
        path = self._path
        if len(path) != depth or path[-1] != name or path[0] != "NativeDicomModel":
            return None
        return self.items.get(path[1])

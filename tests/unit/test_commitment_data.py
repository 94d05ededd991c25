"""Data sets of storage commitment, against pydicom's own reading and writing."""

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from adapter.domain.commitment import (
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    CommitmentReport,
    CommitmentRequest,
    Reference,
)
from adapter.domain.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from adapter.errors import RefusedDataSetError
from adapter.protocols.dimse.command_set import N_ACTION_RQ, N_EVENT_REPORT_RQ, Command
from adapter.protocols.dimse.commitment_data import (
    decode_report,
    decode_request,
    encode_report,
    encode_request,
    report_of,
    request_of,
)
from adapter.protocols.dimse.negotiation import COMMITMENT_SYNTAXES

uids = st.from_regex(r"[1-9][0-9]{0,8}(\.(0|[1-9][0-9]{0,8})){1,5}", fullmatch=True)
references = st.builds(Reference, uids, uids)
reasons = st.sampled_from([0x0110, 0x0112, 0x0119, 0x0122, 0x0131, 0x0213])
REFERENCE = Reference("1.2.840.10008.5.1.4.1.1.2", "1.2.3")


def as_pydicom(encoded, syntax=IMPLICIT_VR_LITTLE_ENDIAN):
    """Read a data set by pydicom's front door."""
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
    return dcmread(BytesIO(bytes(128) + b"DICM" + meta + encoded), force=True)


def by_pydicom(syntax, transaction="2.25.7", items=(), failed=()):
    data_set = Dataset()
    if transaction:
        data_set.TransactionUID = transaction
    for keyword, rows in (("ReferencedSOPSequence", items), ("FailedSOPSequence", failed)):
        made = []
        for row in rows:
            item = Dataset()
            for name, value in row.items():
                setattr(item, name, value)
            made.append(item)
        if made:
            setattr(data_set, keyword, made)
    data_set.RetrieveAETitle = "PACS"
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = syntax == IMPLICIT_VR_LITTLE_ENDIAN
    buffer.is_little_endian = True
    write_dataset(buffer, data_set)
    return buffer.getvalue()


@given(uids, st.lists(references, min_size=1, max_size=5))
def test_request_says_to_pydicom_what_was_asked(transaction, asked):
    request = CommitmentRequest(transaction_uid=transaction, references=tuple(asked))
    encoded = encode_request(request)
    seen = as_pydicom(encoded)
    assert seen.TransactionUID == transaction
    assert [
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for item in seen.ReferencedSOPSequence
    ] == [(r.sop_class_uid, r.sop_instance_uid) for r in asked]
    assert decode_request(encoded, IMPLICIT_VR_LITTLE_ENDIAN) == request


@pytest.mark.parametrize("syntax", COMMITMENT_SYNTAXES)
@given(st.data())
def test_report_comes_back_as_it_was(syntax, data):
    report = CommitmentReport(
        transaction_uid=data.draw(uids),
        committed=tuple(data.draw(st.lists(references, max_size=4))),
        failed=tuple(data.draw(st.lists(st.tuples(references, reasons), max_size=4))),
    )
    encoded = encode_report(report, syntax)
    assert decode_report(encoded, syntax) == report
    seen = as_pydicom(encoded, syntax)
    assert len(seen.get("FailedSOPSequence", [])) == len(report.failed)


@pytest.mark.parametrize("syntax", COMMITMENT_SYNTAXES)
def test_report_of_pydicom_is_understood_and_the_rest_ignored(syntax):
    one = {"ReferencedSOPClassUID": "1.2.3", "ReferencedSOPInstanceUID": "1.2.4"}
    encoded = by_pydicom(syntax, items=[one], failed=[{**one, "FailureReason": 0x0112}])
    assert decode_report(encoded, syntax) == CommitmentReport(
        transaction_uid="2.25.7",
        committed=(Reference("1.2.3", "1.2.4"),),
        failed=((Reference("1.2.3", "1.2.4"), 0x0112),),
    )


@pytest.mark.parametrize(
    ("encoded", "status"),
    [
        (by_pydicom(IMPLICIT_VR_LITTLE_ENDIAN, transaction=""), 0x0120),
        (by_pydicom(IMPLICIT_VR_LITTLE_ENDIAN, failed=[{
            "ReferencedSOPClassUID": "1.2.3", "ReferencedSOPInstanceUID": "1.2.4"}]), 0x0120),
        (by_pydicom(IMPLICIT_VR_LITTLE_ENDIAN, items=[{
            "ReferencedSOPInstanceUID": "1.2.4"}]), 0x0120),
    ],
)  # fmt: skip
def test_report_without_what_it_needs_is_refused(encoded, status):
    with pytest.raises(RefusedDataSetError) as refused:
        decode_report(encoded, IMPLICIT_VR_LITTLE_ENDIAN)
    assert refused.value.status == status


@given(st.binary(max_size=300))
def test_noise_is_refused_or_understood_and_never_crashes(noise):
    for decode in (decode_request, decode_report):
        for syntax in COMMITMENT_SYNTAXES:
            with suppress(RefusedDataSetError):
                decode(noise, syntax)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"sop_class_uid": "1.2.840.10008.1.1"}, 0x0118),
        ({"sop_instance_uid": "1.2.3"}, 0x0112),
    ],
)
def test_command_about_something_else_is_refused(changes, status):
    fields = {
        "message_id": 1, "sop_class_uid": STORAGE_COMMITMENT, "has_data_set": True, "status": None,
        "sop_instance_uid": STORAGE_COMMITMENT_INSTANCE, "type": 1,
    }  # fmt: skip
    encoded = encode_request(CommitmentRequest(transaction_uid="2.25.7", references=(REFERENCE,)))
    right = Command(field=N_ACTION_RQ, **fields)
    assert request_of(right, encoded, IMPLICIT_VR_LITTLE_ENDIAN).references == (REFERENCE,)
    with pytest.raises(RefusedDataSetError) as refused:
        request_of(
            Command(field=N_ACTION_RQ, **fields | changes), encoded, IMPLICIT_VR_LITTLE_ENDIAN
        )
    assert refused.value.status == status
    with pytest.raises(RefusedDataSetError) as refused:
        report_of(
            Command(field=N_EVENT_REPORT_RQ, **fields | {"type": 3}), encoded,
            IMPLICIT_VR_LITTLE_ENDIAN,
        )  # fmt: skip
    assert refused.value.status == 0x0113

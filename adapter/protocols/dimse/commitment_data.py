"""Data sets of Storage Commitment (PS3.4 Tables J.3-1, J.3-2), by pydicom; bounded in size.

What does not have the form of the table is answered with the status of PS3.7 that names the fault.
Elements that the table does not list are ignored.
"""

from collections.abc import Sequence
from io import BytesIO

from pydicom import Dataset, config
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from adapter.domain.commitment import (
    ALL_COMMITTED,
    FAILURES_EXIST,
    REQUEST_COMMITMENT,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    CommitmentReport,
    CommitmentRequest,
    Reference,
)
from adapter.domain.identifiers import is_uid
from adapter.domain.statuses import (
    INVALID_ARGUMENT_VALUE,
    MISSING_ATTRIBUTE,
    NO_SUCH_ACTION_TYPE,
    NO_SUCH_EVENT_TYPE,
    NO_SUCH_INSTANCE,
    NO_SUCH_SOP_CLASS,
    PROCESSING_FAILURE,
)
from adapter.domain.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from adapter.errors import RefusedDataSetError
from adapter.protocols.dimse.command_set import Command

TRANSACTION_UID, REFERENCED_SOP, FAILED_SOP = 0x00081195, 0x00081199, 0x00081198
REFERENCED_CLASS, REFERENCED_INSTANCE, FAILURE_REASON = 0x00081150, 0x00081155, 0x00081197
_TAGS = [TRANSACTION_UID, REFERENCED_SOP, FAILED_SOP]

config.settings.reading_validation_mode = config.IGNORE  # we judge, and print no peer's values


def request_of(command: Command, encoded: bytes, transfer_syntax_uid: str) -> CommitmentRequest:
    """Return what N-ACTION asks.

    Raises:
        RefusedDataSetError: It is not about storage commitment, or malformed.
    """
    _check(command, (REQUEST_COMMITMENT,), NO_SUCH_ACTION_TYPE)
    return decode_request(encoded, transfer_syntax_uid)


def report_of(command: Command, encoded: bytes, transfer_syntax_uid: str) -> CommitmentReport:
    """Return what N-EVENT-REPORT says.

    Raises:
        RefusedDataSetError: It is not about storage commitment, or malformed.
    """
    _check(command, (ALL_COMMITTED, FAILURES_EXIST), NO_SUCH_EVENT_TYPE)
    return decode_report(encoded, transfer_syntax_uid)


def _check(command: Command, types: Sequence[int], no_such_type: int) -> None:
    if command.sop_class_uid != STORAGE_COMMITMENT:
        raise RefusedDataSetError(NO_SUCH_SOP_CLASS, "not the Push Model SOP Class")
    if command.sop_instance_uid != STORAGE_COMMITMENT_INSTANCE:
        raise RefusedDataSetError(NO_SUCH_INSTANCE, "not the well-known SOP Instance")
    if command.type not in types:
        raise RefusedDataSetError(no_such_type, "no such type")


def decode_request(encoded: bytes, transfer_syntax_uid: str) -> CommitmentRequest:
    """Decode Action Information.

    Raises:
        RefusedDataSetError: It is malformed, or names no instance.
    """
    data_set = _decoded(encoded, transfer_syntax_uid)
    references = tuple(_reference(item) for item in _items(data_set, REFERENCED_SOP))
    if not references:
        raise RefusedDataSetError(MISSING_ATTRIBUTE, "no Referenced SOP Sequence")
    return CommitmentRequest(transaction_uid=_transaction(data_set), references=references)


def decode_report(encoded: bytes, transfer_syntax_uid: str) -> CommitmentReport:
    """Decode Event Information.

    Raises:
        RefusedDataSetError: It is malformed.
    """
    data_set = _decoded(encoded, transfer_syntax_uid)
    return CommitmentReport(
        transaction_uid=_transaction(data_set),
        committed=tuple(_reference(item) for item in _items(data_set, REFERENCED_SOP)),
        failed=tuple((_reference(item), _reason(item)) for item in _items(data_set, FAILED_SOP)),
    )


def encode_request(request: CommitmentRequest) -> bytes:
    """Return Action Information in Implicit VR Little Endian."""
    return _encoded(request.transaction_uid, request.references)


def encode_report(report: CommitmentReport, transfer_syntax_uid: str) -> bytes:
    """Return Event Information."""
    return _encoded(report.transaction_uid, report.committed, report.failed, transfer_syntax_uid)


def _decoded(encoded: bytes, transfer_syntax_uid: str) -> Dataset:
    try:
        return read_dataset(
            BytesIO(encoded),
            is_implicit_VR=transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN,
            is_little_endian=True,
            specific_tags=list(_TAGS),
        )
    except Exception as error:  # pydicom raises whatever its parsing meets
        raise RefusedDataSetError(
            PROCESSING_FAILURE, "the data set cannot be understood"
        ) from error


def _items(data_set: Dataset, tag: int) -> Sequence[Dataset]:
    try:
        value = data_set[tag].value if tag in data_set else ()
    except Exception as error:  # decoded only now
        raise RefusedDataSetError(PROCESSING_FAILURE, "a sequence cannot be understood") from error
    if isinstance(value, str | bytes):
        raise RefusedDataSetError(INVALID_ARGUMENT_VALUE, "a sequence without items")
    return value or ()


def _text(data_set: Dataset, tag: int) -> str:
    try:
        return str(data_set[tag].value or "") if tag in data_set else ""
    except Exception as error:  # decoded only now
        raise RefusedDataSetError(PROCESSING_FAILURE, "a value cannot be understood") from error


def _uid(data_set: Dataset, tag: int, name: str) -> str:
    text = _text(data_set, tag)
    if not text:
        raise RefusedDataSetError(MISSING_ATTRIBUTE, f"no {name}")
    if not is_uid(text):
        raise RefusedDataSetError(INVALID_ARGUMENT_VALUE, f"{name} is no UID")
    return text


def _transaction(data_set: Dataset) -> str:
    return _uid(data_set, TRANSACTION_UID, "Transaction UID")


def _reference(item: Dataset) -> Reference:
    return Reference(
        _uid(item, REFERENCED_CLASS, "Referenced SOP Class UID"),
        _uid(item, REFERENCED_INSTANCE, "Referenced SOP Instance UID"),
    )


def _reason(item: Dataset) -> int:
    text = _text(item, FAILURE_REASON)
    if not text:
        raise RefusedDataSetError(MISSING_ATTRIBUTE, "no Failure Reason")
    if not text.isdecimal():
        raise RefusedDataSetError(INVALID_ARGUMENT_VALUE, "Failure Reason is no number")
    return int(text)


def _encoded(
    transaction_uid: str,
    references: Sequence[Reference],
    failed: Sequence[tuple[Reference, int]] = (),
    transfer_syntax_uid: str = IMPLICIT_VR_LITTLE_ENDIAN,
) -> bytes:
    data_set = Dataset()
    data_set.TransactionUID = transaction_uid
    if references:
        data_set.ReferencedSOPSequence = [_item(reference) for reference in references]
    if failed:
        data_set.FailedSOPSequence = [_item(reference, reason) for reference, reason in failed]
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
    buffer.is_little_endian = True
    write_dataset(buffer, data_set)
    return buffer.getvalue()


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reason is not None:
        item.FailureReason = reason
    return item

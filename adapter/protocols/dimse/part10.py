"""Describes a Part 10 file for sending: what its data set is, and where it begins (PS3.10 7)."""

from adapter.domain.identifiers import is_uid
from adapter.domain.records import OutgoingInstance
from adapter.protocols.dimse.elements import Layout, MalformedDataSetError
from adapter.protocols.dimse.file_meta import PREFIX, NotPart10Error, read_file_meta
from adapter.protocols.dimse.head import (
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    Head,
)

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
"""DICOMDIR: for media, not for networks."""
READ_BYTES = 64 << 10
"""File Meta Information and the first elements of the data set are well within."""
_WANTED = frozenset((SOP_CLASS_UID, SOP_INSTANCE_UID))


class NoInstanceError(NotPart10Error):
    """A file that does not even claim to be an instance: another format, or a DICOMDIR."""


def describe(path: str) -> OutgoingInstance:
    """Describe a file by its data set, and by its File Meta Information where that is silent.

    The two differ in files of careless writers. A receiver compares the command with the data set
    (PS3.4 B.2.3, 0xA900), so the data set is what counts.

    Raises:
        NoInstanceError: It has no DICM prefix, or is a DICOMDIR.
        NotPart10Error: It is no Part 10 file, or no instance of a SOP class.
        OSError: The file cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        start = file.read(READ_BYTES)
        size = file.seek(0, 2)
    if start[128:132] != PREFIX:
        raise NoInstanceError("no DICM prefix")
    meta = read_file_meta(start)
    if meta.sop_class_uid == MEDIA_STORAGE_DIRECTORY:
        raise NoInstanceError("a DICOMDIR, the index of a medium")
    if size <= meta.data_set_offset:
        raise NotPart10Error("no data set behind File Meta Information")
    head = Head(Layout(meta.transfer_syntax_uid, _WANTED))
    try:
        head.feed(memoryview(start)[meta.data_set_offset :], last=size <= READ_BYTES)
    except MalformedDataSetError as error:
        raise NotPart10Error(str(error)) from error
    sop_class = head.values.get(SOP_CLASS_UID, meta.sop_class_uid)
    sop_instance = head.values.get(SOP_INSTANCE_UID, meta.sop_instance_uid)
    if not (is_uid(sop_class) and is_uid(sop_instance)):
        raise NotPart10Error("no SOP Class UID or SOP Instance UID")
    return OutgoingInstance(
        path=path,
        sop_class_uid=sop_class,
        sop_instance_uid=sop_instance,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        data_set_offset=meta.data_set_offset,
        data_set_bytes=size - meta.data_set_offset,
    )

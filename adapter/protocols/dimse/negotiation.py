"""Which proposed presentation contexts are accepted (PS3.8 9.3.3.2, PS3.7 D.3.2).

Every storage class is accepted, also retired, private and future ones, in the first transfer syntax
the peer proposes: it puts first what it has, and instances are stored as received. A configured
preference goes before its order. What is known to be another service is refused, so that no sender
takes us for a worklist or an archive.
"""

from collections.abc import Collection, Sequence

from pydicom._uid_dict import UID_dictionary

from adapter.domain.admission import VERIFICATION
from adapter.domain.commitment import STORAGE_COMMITMENT
from adapter.domain.dimse_ports import ServiceClass
from adapter.domain.identifiers import is_uid
from adapter.domain.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from adapter.protocols.dimse import user_information
from adapter.protocols.dimse.associate import AssociateRequest, ContextResult, ProposedContext
from adapter.protocols.dimse.part10 import MEDIA_STORAGE_DIRECTORY

# PS3.8 9.3.3.2: results of a presentation context
ACCEPTED, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 3, 4

COMMITMENT_SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

_DICOM_ROOT = "1.2.840.10008."
_STORAGE_ARC = _DICOM_ROOT + "5.1.4.1.1."


def is_storage_class(uid: str) -> bool:
    """Return whether uid is, or can be, a SOP class of the Storage Service Class (PS3.4 B)."""
    if not uid.startswith(_DICOM_ROOT):
        return True  # private: only a sender that wants to store proposes it to us
    if uid not in UID_dictionary:
        return uid.startswith(_STORAGE_ARC)
    name, kind = UID_dictionary[uid][:2]
    if kind != "SOP Class" or uid == MEDIA_STORAGE_DIRECTORY:
        return False
    if not name:  # retired so long ago that the Standard keeps the number only
        return uid.startswith(_STORAGE_ARC)
    return "Storage" in name and not name.startswith("Storage Commitment")


def service_class(abstract_syntax: str) -> ServiceClass | None:
    """Return which service of ours a SOP class belongs to; None: to none."""
    if abstract_syntax == VERIFICATION:
        return ServiceClass.VERIFICATION
    if abstract_syntax == STORAGE_COMMITMENT:
        return ServiceClass.STORAGE_COMMITMENT
    return ServiceClass.STORAGE if is_storage_class(abstract_syntax) else None


def negotiate(
    proposed: Sequence[ProposedContext],
    *,
    verification_syntaxes: Collection[str],
    preferred: Sequence[str] = (),
    offered: Collection[ServiceClass] = (ServiceClass.VERIFICATION, ServiceClass.STORAGE),
) -> list[ContextResult]:
    """Return the answer to each proposed context, in the order proposed.

    Args:
        proposed: The contexts of A-ASSOCIATE-RQ.
        verification_syntaxes: Transfer syntaxes for Verification; empty: it is not offered.
        preferred: Transfer syntaxes of storage contexts that win over those proposed before them;
            the first of these that is proposed at all is taken.
        offered: The services of this association.
    """
    return [_judge(context, offered, verification_syntaxes, preferred) for context in proposed]


def _judge(
    context: ProposedContext,
    offered: Collection[ServiceClass],
    verification_syntaxes: Collection[str],
    preferred: Sequence[str],
) -> ContextResult:
    proposed = context.transfer_syntaxes
    service = service_class(context.abstract_syntax)
    syntax: str | None
    if service not in offered:
        return _refused(context, ABSTRACT_SYNTAX_NOT_SUPPORTED)
    if service is ServiceClass.STORAGE:
        wanted = (uid for uid in preferred if uid in proposed)
        syntax = next(wanted, None) or next(filter(is_uid, proposed), None)
    elif service is ServiceClass.STORAGE_COMMITMENT:
        syntax = next((uid for uid in proposed if uid in COMMITMENT_SYNTAXES), None)
    elif verification_syntaxes:
        syntax = next((uid for uid in proposed if uid in verification_syntaxes), None)
    else:
        return _refused(context, ABSTRACT_SYNTAX_NOT_SUPPORTED)
    if not syntax:
        return _refused(context, TRANSFER_SYNTAXES_NOT_SUPPORTED)
    return ContextResult(context.id, context.abstract_syntax, syntax, ACCEPTED)


def _refused(context: ProposedContext, result: int) -> ContextResult:
    # The transfer syntax of a refused context means nothing, but must be there (PS3.8 9.3.3.2).
    syntax = next(filter(is_uid, context.transfer_syntaxes), IMPLICIT_VR_LITTLE_ENDIAN)
    return ContextResult(context.id, context.abstract_syntax, syntax, result)


def answer(request: AssociateRequest, results: Sequence[ContextResult], max_pdu: int) -> bytes:
    """Return the user information of A-ASSOCIATE-AC: what is agreed besides the contexts.

    A requestor may be SCU of whatever it proposed and was accepted. It may be SCP of storage
    commitment only: so a destination reports on an association of its own (PS3.4 J.3.3).
    """
    accepted = {result.abstract_syntax for result in results if result.result == ACCEPTED}
    proposed = request.user.roles.items()
    return user_information.encode_ac(
        max_pdu,
        request.user,
        roles={
            uid: (scu, scp and uid == STORAGE_COMMITMENT)
            for uid, (scu, scp) in proposed
            if uid in accepted
        },
        extended=request.user.extended & accepted - {VERIFICATION},
    )

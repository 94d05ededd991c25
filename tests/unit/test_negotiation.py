"""Which presentation contexts are accepted."""

import pytest
from pydicom._uid_dict import UID_dictionary
from pynetdicom import (
    AllStoragePresentationContexts,
    BasicWorklistManagementPresentationContexts,
    QueryRetrievePresentationContexts,
    StorageCommitmentPresentationContexts,
)

from adapter.domain.admission import VERIFICATION
from adapter.domain.commitment import STORAGE_COMMITMENT
from adapter.domain.dimse_ports import ServiceClass
from adapter.protocols.dimse import user_information
from adapter.protocols.dimse.associate import (
    ContextResult,
    ProposedContext,
    decode_associate_rq,
    encode_associate_rq,
)
from adapter.protocols.dimse.negotiation import answer, is_storage_class, negotiate

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"


def answered(abstract_syntax, *syntaxes, verification=(EXPLICIT, IMPLICIT)):
    proposed = [ProposedContext(1, abstract_syntax, syntaxes or (JPEG, IMPLICIT))]
    (result,) = negotiate(proposed, verification_syntaxes=verification)
    return result.result, result.transfer_syntax


@pytest.mark.parametrize(
    "uid",
    [
        CT,
        "1.2.840.10008.5.1.4.1.1.5",  # retired: Nuclear Medicine Image Storage
        "1.2.840.10008.5.1.4.1.1.6",  # retired: Ultrasound Image Storage
        "1.2.840.10008.5.1.4.1.1.3",  # retired: Ultrasound Multi-frame Image Storage
        "1.2.840.10008.5.1.4.1.1.9999",  # of the future
        "1.2.840.10008.5.1.4.34.7",  # RT Beams Delivery Instruction Storage
        "1.2.840.10008.5.1.4.38.1",  # Hanging Protocol Storage
        "1.3.12.2.1107.5.9.1",  # private: Siemens CSA Non-Image
        "1.2.840.113619.4.2",  # private: GE
    ],
)
def test_storage_class_is_accepted_in_the_first_syntax_proposed(uid):
    assert answered(uid, JPEG, IMPLICIT) == (0, JPEG)
    assert answered(uid, "1.2.3.4.5", IMPLICIT) == (0, "1.2.3.4.5")


def test_every_storage_class_of_pynetdicom_is_accepted():
    refused = [c.abstract_syntax for c in AllStoragePresentationContexts
               if answered(c.abstract_syntax)[0] != 0]  # fmt: skip
    assert refused == []


def test_every_storage_class_of_the_standards_arc_is_accepted():
    refused = [
        name
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class" and "Storage" in name and uid.startswith("1.2.840.10008.5.1.4.1.1.")
        if not is_storage_class(uid)
    ]
    assert refused == []


@pytest.mark.parametrize(
    "context",
    [
        *QueryRetrievePresentationContexts,
        *BasicWorklistManagementPresentationContexts,
        *StorageCommitmentPresentationContexts,
    ],
    ids=lambda context: context.abstract_syntax.name,
)
def test_another_service_is_refused(context):
    assert answered(context.abstract_syntax)[0] == 3


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.1.20.2",  # retired: Storage Commitment Pull Model
        "1.2.840.10008.3.1.2.3.3",  # Modality Performed Procedure Step
        "1.2.840.10008.1.40",  # Procedural Event Logging
        "1.2.840.10008.5.1.4.33",  # Instance Availability Notification
        "1.2.840.10008.5.1.4.34.6.1",  # Unified Procedure Step - Push
        "1.2.840.10008.5.1.1.9",  # Basic Grayscale Print Management
        "1.2.840.10008.5.1.4.1.1.201.2",  # Inventory FIND
        "1.2.840.10008.1.2",  # a transfer syntax
        "1.2.840.10008.4.2",  # the Storage Service Class: no SOP class
        "1.2.840.10008.5.1.4.1.1.201.1.1",  # Storage Management: a well-known SOP instance
        "1.2.840.10008.9999",  # of the future, outside the arc of storage classes
    ],
)
def test_what_is_no_storage_class_is_refused(uid):
    assert answered(uid)[0] == 3


@pytest.mark.parametrize(
    ("preferred", "proposed", "taken"),
    [
        ((EXPLICIT,), (JPEG, IMPLICIT, EXPLICIT), EXPLICIT),
        ((EXPLICIT, IMPLICIT), (JPEG, IMPLICIT), IMPLICIT),
        ((EXPLICIT, IMPLICIT), (IMPLICIT, JPEG, EXPLICIT), EXPLICIT),
        ((EXPLICIT,), (JPEG, IMPLICIT), JPEG),
        (("1.2.3.4.5",), (JPEG, "1.2.3.4.5"), "1.2.3.4.5"),
    ],
)
def test_preferred_syntax_goes_before_the_proposers_order(preferred, proposed, taken):
    context = ProposedContext(1, CT, proposed)
    (result,) = negotiate([context], verification_syntaxes=[], preferred=preferred)
    assert (result.result, result.transfer_syntax) == (0, taken)


def test_preferred_syntax_says_nothing_about_verification():
    context = ProposedContext(1, VERIFICATION, (IMPLICIT, JPEG))
    (result,) = negotiate([context], verification_syntaxes=[IMPLICIT], preferred=[JPEG])
    assert (result.result, result.transfer_syntax) == (0, IMPLICIT)


def test_verification_is_accepted_in_a_configured_syntax():
    assert answered(VERIFICATION, JPEG, IMPLICIT) == (0, IMPLICIT)


def test_verification_in_no_configured_syntax_is_refused_for_its_syntax():
    assert answered(VERIFICATION, JPEG)[0] == 4


def test_verification_is_refused_when_it_is_not_offered():
    assert answered(VERIFICATION, IMPLICIT, verification=())[0] == 3


def test_context_without_transfer_syntaxes_is_refused_for_that():
    (result,) = negotiate([ProposedContext(1, CT, ())], verification_syntaxes=[])
    assert (result.result, result.transfer_syntax) == (4, IMPLICIT)


def test_every_context_is_answered_in_order():
    proposed = [
        ProposedContext(5, "1.2.840.10008.5.1.4.31", (IMPLICIT,)),
        ProposedContext(1, CT, (JPEG,)),
        ProposedContext(3, CT, (EXPLICIT,)),
    ]
    assert negotiate(proposed, verification_syntaxes=[]) == [
        ContextResult(5, "1.2.840.10008.5.1.4.31", IMPLICIT, 3),
        ContextResult(1, CT, JPEG, 0),
        ContextResult(3, CT, EXPLICIT, 0),
    ]


ALL = frozenset(ServiceClass)


@pytest.mark.parametrize(
    ("abstract_syntax", "service"),
    [(VERIFICATION, ServiceClass.VERIFICATION), (CT, ServiceClass.STORAGE),
     (STORAGE_COMMITMENT, ServiceClass.STORAGE_COMMITMENT)],
)  # fmt: skip
def test_service_that_is_not_offered_is_refused(abstract_syntax, service):
    context = ProposedContext(1, abstract_syntax, (EXPLICIT,))
    (yes,) = negotiate([context], verification_syntaxes=[EXPLICIT], offered=ALL)
    (no,) = negotiate([context], verification_syntaxes=[EXPLICIT], offered=ALL - {service})
    assert (yes.result, no.result) == (0, 3)


def test_storage_commitment_takes_uncompressed_little_endian_only():
    context = ProposedContext(1, STORAGE_COMMITMENT, (JPEG, "1.2.840.10008.1.2.2"))
    (result,) = negotiate([context], verification_syntaxes=[], offered=ALL)
    assert result.result == 4


def test_role_of_scp_is_agreed_to_for_storage_commitment_only():
    """PS3.7 D.3.3.4: what is not proposed is not answered."""
    contexts = [
        ProposedContext(1, STORAGE_COMMITMENT, (IMPLICIT,)),
        ProposedContext(3, CT, (JPEG,)),
    ]
    roles = {STORAGE_COMMITMENT: (False, True), CT: (True, True)}
    request = decode_associate_rq(encode_associate_rq("US", "PACS", contexts, 16384, roles))
    results = negotiate(request.contexts, verification_syntaxes=[], offered=ALL)
    agreed = user_information.decode(answer(request, results, 16384))
    assert agreed.roles == {STORAGE_COMMITMENT: (False, True), CT: (True, False)}

"""Association PDUs, with pynetdicom as the peer."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pynetdicom import build_context
from pynetdicom.pdu import (
    A_ABORT_RQ,
    A_ASSOCIATE_AC,
    A_ASSOCIATE_RJ,
    A_ASSOCIATE_RQ,
    A_RELEASE_RP,
    A_RELEASE_RQ,
)
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from adapter.domain.dimse_ports import CONTEXTS_MAX
from adapter.protocols.dimse import associate, pdu
from adapter.protocols.dimse.items import MalformedPDUError
from adapter.protocols.dimse.negotiation import negotiate
from adapter.protocols.dimse.user_information import OUR_CLASS_UID, UserInformation, encode_ac

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"

BRAIN, CT1 = b"BRAIN".ljust(16), b"CT1".ljust(16)
RAW_CT, RAW_IMPLICIT = CT.encode(), IMPLICIT.encode()


def peer_request(*contexts, extras=(), max_length=16382, called="BRAIN", calling="CT1"):
    """Return an A-ASSOCIATE-RQ made by pynetdicom."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = associate.DICOM_APPLICATION_CONTEXT
    primitive.called_ae_title, primitive.calling_ae_title = called, calling
    definitions = []
    for index, (abstract, syntaxes) in enumerate(contexts or [(CT, [IMPLICIT])]):
        context = build_context(abstract, list(syntaxes))
        context.context_id = 2 * index + 1
        definitions.append(context)
    primitive.presentation_context_definition_list = definitions
    length, uid = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = max_length
    uid.implementation_class_uid = "1.2.3"
    primitive.user_information = [length, uid, *extras]
    return A_ASSOCIATE_RQ(primitive).encode()


def raw_request(*items, called=BRAIN, calling=CT1, version=1):
    body = version.to_bytes(2, "big") + bytes(2) + called + calling + bytes(32) + b"".join(items)
    return pdu.HEADER.pack(1, len(body)) + body


def item(kind, value):
    return bytes((kind, 0)) + len(value).to_bytes(2, "big") + value


def proposed(context_id=1, abstract=RAW_CT, syntaxes=(RAW_IMPLICIT,)):
    names = item(0x30, abstract) + b"".join(item(0x40, syntax) for syntax in syntaxes)
    return item(0x20, bytes((context_id, 0, 0, 0)) + names)


def encode_request(contexts, max_pdu):
    proposed = [associate.ProposedContext(n, uid, tuple(s)) for n, uid, s in contexts]
    return associate.encode_associate_rq("PACS", "ADAPTER", proposed, max_pdu)


def encode_accept(request_pdu, results, max_pdu):
    user = encode_ac(max_pdu, UserInformation(), {}, frozenset())
    return associate.encode_associate_ac(request_pdu, results, user)


APPLICATION = item(0x10, associate.DICOM_APPLICATION_CONTEXT.encode())
USER = item(0x50, item(0x51, (16384).to_bytes(4, "big")))


def test_request_of_pynetdicom_is_understood():
    request = associate.decode_associate_rq(
        peer_request((CT, [JPEG, EXPLICIT]), (VERIFICATION, [IMPLICIT]))
    )
    assert request == associate.AssociateRequest(
        called_ae_title="BRAIN",
        calling_ae_title="CT1",
        application_context=associate.DICOM_APPLICATION_CONTEXT,
        protocol_version=1,
        contexts=(
            associate.ProposedContext(1, CT, (JPEG, EXPLICIT)),
            associate.ProposedContext(3, VERIFICATION, (IMPLICIT,)),
        ),
        user=UserInformation(max_length=16382, implementation_class_uid="1.2.3"),
    )


def user_items():
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = CT, True, True
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 5
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field = 1, b"somebody"
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = CT, b"\2\0"
    common = SOPClassCommonExtendedNegotiation()
    common.sop_class_uid, common.service_class_uid = CT, "1.2.840.10008.4.2"
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = "PEER"
    return [role, window, identity, extended, common, version]


@pytest.mark.parametrize("extra", user_items(), ids=lambda extra: type(extra).__name__)
def test_negotiation_items_do_not_disturb(extra):
    request = associate.decode_associate_rq(peer_request((CT, [JPEG]), extras=[extra]))
    assert request.contexts == (associate.ProposedContext(1, CT, (JPEG,)),)


def test_unknown_items_are_ignored():
    user = item(0x50, item(0x51, (4096).to_bytes(4, "big")) + item(0x7F, b"?") + item(0x57, b"??"))
    request = associate.decode_associate_rq(
        raw_request(APPLICATION, item(0x99, b"new"), proposed(), user, item(0x60, b""))
    )
    assert [context.id for context in request.contexts] == [1]
    assert request.user.max_length == 4096


def test_request_without_user_information_has_no_length_limit():
    assert associate.decode_associate_rq(raw_request(APPLICATION, proposed())).user.max_length == 0


def test_all_bits_of_the_protocol_version_are_reported():
    request = associate.decode_associate_rq(
        raw_request(APPLICATION, proposed(), USER, version=0x8003)
    )
    assert request.protocol_version == 0x8003


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        (b"  CT1           ", "CT1"),
        (b"SIXTEEN-LETTERS!", "SIXTEEN-LETTERS!"),
        (b"A B             ", "A B"),
        (b"                ", ""),
        (b"CT1\0\0\0\0\0\0\0\0\0\0\0\0\0", ""),
        (b"A\\B             ", ""),
        (b"\xc4RZTIN          ", ""),
    ],
)
def test_ae_title_is_stripped_and_a_bad_one_is_empty(raw, title):
    request = associate.decode_associate_rq(
        raw_request(APPLICATION, proposed(), USER, called=raw, calling=raw)
    )
    assert (request.called_ae_title, request.calling_ae_title) == (title, title)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        raw_request()[:73],
        raw_request(APPLICATION, USER),
        raw_request(APPLICATION, proposed(1), proposed(1), USER),
        raw_request(APPLICATION, proposed(2), USER),
        raw_request(APPLICATION, proposed(abstract=b"CT Image"), USER),
        raw_request(APPLICATION, proposed(abstract=b"\xff\xfe"), USER),
        raw_request(APPLICATION, proposed(), item(0x50, item(0x51, (7).to_bytes(4, "big")))),
        raw_request(APPLICATION, proposed() + b"\x50\0\xff\xff"),
        raw_request(APPLICATION, proposed(), USER) + b"\x50\0",
    ],
    ids=[
        "empty", "short", "no context", "id twice", "even id", "no uid", "no ascii", "tiny length",
        "item too long", "half an item",
    ],
)  # fmt: skip
def test_malformed_request_is_refused(encoded):
    with pytest.raises(MalformedPDUError):
        associate.decode_associate_rq(encoded)


def mutated(encoded, places):
    raw = bytearray(encoded)
    for place, value in places:
        raw[place % len(raw)] = value
    return bytes(raw)


places = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6)


def checked(encoded):
    """Answer a request as a listener would; whatever it proposes must be answerable."""
    request = associate.decode_associate_rq(encoded)
    results = negotiate(request.contexts, verification_syntaxes=[IMPLICIT])
    accept = encode_accept(encoded, results, 65536)
    return request, associate.decode_associate_ac(accept)


@settings(max_examples=150)
@given(places)
def test_damaged_request_is_answered_or_malformed(changes):
    encoded = mutated(peer_request((CT, [JPEG]), ("1.2.3.4", [IMPLICIT])), changes)
    try:
        request, accept = checked(encoded)
    except MalformedPDUError:
        return
    assert set(accept.contexts) == {context.id for context in request.contexts}


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_noise_is_malformed_or_a_request(noise):
    try:
        request = associate.decode_associate_rq(raw_request(noise))
    except MalformedPDUError:
        return
    assert request.contexts


@pytest.mark.parametrize("syntax", [b"", b"x", b"1.2.", b"\xff", b"9" * 65, b"1" * 300])
def test_transfer_syntax_that_is_no_uid_is_malformed_or_refused(syntax):
    """A peer may propose nonsense: no error of ours, and no file that nobody can read."""
    encoded = raw_request(APPLICATION, proposed(syntaxes=[syntax]), USER)
    try:
        _, accept = checked(encoded)
    except MalformedPDUError:
        return
    assert accept.contexts[1][0] != 0


def test_padded_transfer_syntax_is_accepted():
    encoded = raw_request(APPLICATION, proposed(syntaxes=[JPEG.encode() + b"\0"]), USER)
    assert checked(encoded)[1].contexts == {1: (0, JPEG)}


def peer_reads_accept(encoded):
    decoded = A_ASSOCIATE_AC()
    decoded.decode(encoded)
    return decoded


def test_pynetdicom_understands_our_accept():
    request = peer_request((CT, [JPEG]), (MR, [EXPLICIT]))
    results = [
        associate.ContextResult(1, CT, JPEG, 0),
        associate.ContextResult(3, MR, EXPLICIT, 3),
    ]
    decoded = peer_reads_accept(encode_accept(request, results, 131072))
    assert decoded.application_context_name == associate.DICOM_APPLICATION_CONTEXT
    assert decoded.user_information.maximum_length == 131072
    assert decoded.user_information.implementation_class_uid == OUR_CLASS_UID
    assert [(c.context_id, c.result) for c in decoded.presentation_context] == [(1, 0), (3, 3)]
    assert decoded.presentation_context[0].transfer_syntax == JPEG


def test_accept_repeats_the_titles_byte_for_byte():
    request = raw_request(APPLICATION, proposed(), USER, called=b" BRAIN          ",
                          calling=b"\xff\0 odd           ")  # fmt: skip
    accept = encode_accept(request, [associate.ContextResult(1, CT, IMPLICIT, 0)], 4096)
    assert accept[10:42] == request[10:42]
    assert len(accept) == 6 + int.from_bytes(accept[2:6], "big")


def test_our_accept_is_read_back():
    results = [associate.ContextResult(1, CT, JPEG, 0), associate.ContextResult(3, MR, IMPLICIT, 4)]
    accept = associate.decode_associate_ac(
        encode_accept(peer_request((CT, [JPEG]), (MR, [JPEG])), results, 4096)
    )
    assert accept.contexts[1] == (0, JPEG)
    assert accept.contexts[3][0] == 4
    assert accept.user.max_length == 4096


def test_pynetdicom_understands_our_request():
    encoded = encode_request([(1, CT, [JPEG]), (3, MR, [EXPLICIT, IMPLICIT])], 65536)
    decoded = A_ASSOCIATE_RQ()
    decoded.decode(encoded)
    assert (decoded.called_ae_title.strip(), decoded.calling_ae_title.strip()) == (
        "PACS",
        "ADAPTER",
    )
    assert [
        (c.presentation_context_id, c.abstract_syntax, c.transfer_syntax)
        for c in decoded.presentation_context
    ] == [(1, CT, [JPEG]), (3, MR, [EXPLICIT, IMPLICIT])]
    assert decoded.user_information.maximum_length == 65536


def test_our_request_is_read_back_with_all_contexts():
    contexts = [(2 * i + 1, f"1.2.3.{i}", [JPEG, IMPLICIT]) for i in range(CONTEXTS_MAX)]
    request = associate.decode_associate_rq(encode_request(contexts, 0))
    assert [
        (c.id, c.abstract_syntax, list(c.transfer_syntaxes)) for c in request.contexts
    ] == contexts


def test_accept_of_pynetdicom_is_understood():
    primitive = A_ASSOCIATE()
    primitive.application_context_name = associate.DICOM_APPLICATION_CONTEXT
    primitive.called_ae_title, primitive.calling_ae_title = "PACS", "ADAPTER"
    primitive.result, primitive.result_source = 0, 1
    accepted, refused = build_context(CT, JPEG), build_context(MR, IMPLICIT)
    accepted.context_id, accepted.result = 1, 0
    refused.context_id, refused.result = 3, 4
    primitive.presentation_context_definition_results_list = [accepted, refused]
    length, uid = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, uid.implementation_class_uid = 28672, "1.2.3"
    primitive.user_information = [length, uid, *user_items()[:2]]
    accept = associate.decode_associate_ac(A_ASSOCIATE_AC(primitive).encode())
    assert accept.contexts[1] == (0, JPEG)
    assert accept.contexts[3][0] == 4
    assert accept.user.max_length == 28672


@settings(max_examples=150)
@given(places)
@example([(74, 0x22)])
def test_damaged_accept_is_read_or_malformed(changes):
    results = [associate.ContextResult(1, CT, JPEG, 0)]
    encoded = encode_accept(peer_request((CT, [JPEG])), results, 4096)
    try:
        accept = associate.decode_associate_ac(mutated(encoded, changes))
    except MalformedPDUError:
        return
    assert accept.contexts


@pytest.mark.parametrize("raw", [b"", pdu.HEADER.pack(2, 68) + bytes(68)])
def test_accept_without_contexts_is_malformed(raw):
    with pytest.raises(MalformedPDUError):
        associate.decode_associate_ac(raw)


def test_pynetdicom_understands_our_reject():
    decoded = A_ASSOCIATE_RJ()
    decoded.decode(pdu.associate_rj(2, 3, 1))
    assert (decoded.result, decoded.source, decoded.reason_diagnostic) == (2, 3, 1)


def test_pynetdicom_understands_our_abort():
    decoded = A_ABORT_RQ()
    decoded.decode(pdu.abort(pdu.BY_PROVIDER, pdu.UNEXPECTED_PDU))
    assert (decoded.source, decoded.reason_diagnostic) == (2, 2)


def test_release_pdus_are_pynetdicoms():
    assert A_RELEASE_RQ().encode() == pdu.RELEASE_RQ_PDU
    assert A_RELEASE_RP().encode() == pdu.RELEASE_RP_PDU

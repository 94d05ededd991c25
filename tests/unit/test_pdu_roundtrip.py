"""PDUs there and back between pynetdicom's codecs and ours: what one says, the other hears.

Reserved bytes are noise, and unknown items lie between the known ones (PS3.8 9.3.1).
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_items import PresentationDataValueItem
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationVersionNameNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from test_pdu import item, peer_request

from adapter.domain.admission import UserIdentity
from adapter.protocols.dimse import pdu, user_information
from adapter.protocols.dimse.associate import (
    AssociateRequest,
    ContextResult,
    ProposedContext,
    decode_associate_ac,
    decode_associate_rq,
    encode_associate_ac,
    encode_associate_rq,
)
from adapter.protocols.dimse.fragments import fragments
from adapter.protocols.dimse.layer_events import Aborted, AssociatePDU, DataFragment, Signal
from adapter.protocols.dimse.upper_layer import UpperLayer
from adapter.protocols.dimse.user_information import UserInformation

USER_INFORMATION, CONTEXT_RQ, CONTEXT_AC = 0x50, 0x20, 0x21
MAX_PDU = 1 << 16

uids = st.lists(st.integers(0, 99999), min_size=1, max_size=8).map(
    lambda parts: ".".join(map(str, (1, *parts)))
)
titles = st.from_regex(r"[A-Z0-9_!]([A-Z0-9_ ]{0,13}[A-Z0-9_])?", fullmatch=True)
version_names = st.from_regex(r"[A-Z0-9_]{1,16}", fullmatch=True)
lengths = st.one_of(st.just(0), st.integers(8, 0xFFFFFFFF))
syntaxes = st.lists(uids, min_size=1, max_size=4, unique=True)
contexts = st.lists(st.tuples(uids, syntaxes), min_size=1, max_size=5)
roles = st.dictionaries(uids, st.sampled_from([(True, False), (False, True), (True, True)]))
secrets = st.binary(min_size=1, max_size=40)
identities = st.one_of(
    st.none(),
    st.builds(
        UserIdentity,
        kind=st.sampled_from([1, 3, 4, 5]),
        primary=secrets,
        secondary=st.just(b""),
        response_requested=st.booleans(),
    ),
    st.builds(
        UserIdentity,
        kind=st.just(2),
        primary=secrets,
        secondary=secrets,
        response_requested=st.booleans(),
    ),
)
unknown = st.lists(
    st.tuples(st.integers(0x5A, 0xFF), st.binary(max_size=20)).map(lambda pair: item(*pair)),
    max_size=3,
)
noise = st.binary(min_size=16, max_size=16)


def extras_of(user, windows, common):
    """Return a peer's user information as pynetdicom's primitives."""
    if user.implementation_version_name:
        version = ImplementationVersionNameNotification()
        version.implementation_version_name = user.implementation_version_name
        yield version
    if user.asynchronous:
        window = AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked, window.maximum_number_operations_performed = (
            windows
        )
        yield window
    for uid, (scu, scp) in user.roles.items():
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = uid, scu, scp
        yield role
    for uid in user.extended:
        extended = SOPClassExtendedNegotiation()
        extended.sop_class_uid, extended.service_class_application_information = uid, b"\2\0\3"
        yield extended
    for uid in common:
        related = SOPClassCommonExtendedNegotiation()
        related.sop_class_uid, related.service_class_uid = uid, "1.2.840.10008.4.2"
        related.related_general_sop_class_identification = [uid]
        yield related
    if user.identity is not None:
        identity = UserIdentityNegotiation()
        identity.user_identity_type = user.identity.kind
        identity.primary_field, identity.secondary_field = (
            user.identity.primary,
            user.identity.secondary,
        )
        identity.positive_response_requested = user.identity.response_requested
        yield identity


def disturbed(encoded, junk, strangers):
    """Set every reserved byte of an A-ASSOCIATE PDU to noise, and put strangers among its items."""
    bytes_of_noise = iter(junk * (len(encoded) // len(junk) + 40))

    def rewritten(data):
        pieces = []
        while data:
            kind, end = data[0], 4 + int.from_bytes(data[2:4], "big")
            value = data[4:end]
            if kind in (CONTEXT_RQ, CONTEXT_AC):
                result = value[2] if kind == CONTEXT_AC else next(bytes_of_noise)
                fixed = bytes((value[0], next(bytes_of_noise), result, next(bytes_of_noise)))
                value = fixed + rewritten(value[4:])
            elif kind == USER_INFORMATION:
                value = rewritten(value) + b"".join(strangers)
            pieces.append(
                bytes((kind, next(bytes_of_noise))) + len(value).to_bytes(2, "big") + value
            )
            data = data[end:]
        return b"".join(pieces)

    body = encoded[6:8] + bytes(next(bytes_of_noise) for _ in range(2)) + encoded[10:42]
    body += bytes(next(bytes_of_noise) for _ in range(32))
    body += b"".join(strangers) + rewritten(encoded[74:])
    return bytes((encoded[0], next(bytes_of_noise))) + len(body).to_bytes(4, "big") + body


@st.composite
def peers(draw):
    """Draw user information as a peer may send it."""
    return UserInformation(
        max_length=draw(lengths),
        implementation_class_uid="1.2.3",
        implementation_version_name=draw(st.one_of(st.just(""), version_names)),
        asynchronous=draw(st.booleans()),
        roles=draw(roles),
        extended=frozenset(draw(st.lists(uids, max_size=3))),
        identity=draw(identities),
    )


@settings(max_examples=60)
@given(
    titles, titles, contexts, peers(), st.tuples(st.integers(0, 99), st.integers(0, 99)),
    st.lists(uids, max_size=2), noise, unknown,
)  # fmt: skip
def test_request_of_the_peer_is_heard(
    called, calling, proposed, user, windows, common, junk, strangers
):
    encoded = peer_request(
        *proposed, called=called, calling=calling, max_length=user.max_length,
        extras=list(extras_of(user, windows, common)),
    )  # fmt: skip
    expected = AssociateRequest(
        called_ae_title=called,
        calling_ae_title=calling,
        application_context="1.2.840.10008.3.1.1.1",
        protocol_version=1,
        contexts=tuple(
            ProposedContext(2 * number + 1, abstract, tuple(names))
            for number, (abstract, names) in enumerate(proposed)
        ),
        user=user,
    )
    assert decode_associate_rq(encoded) == expected
    assert decode_associate_rq(disturbed(encoded, junk, strangers)) == expected


@settings(max_examples=40)
@given(titles, titles, contexts, st.integers(4096, 1 << 20), roles)
def test_request_of_ours_is_heard(called, calling, proposed, max_length, agreed):
    encoded = encode_associate_rq(
        called, calling,
        [ProposedContext(2 * n + 1, uid, tuple(s)) for n, (uid, s) in enumerate(proposed)],
        max_length, agreed,
    )  # fmt: skip
    heard = A_ASSOCIATE_RQ()
    heard.decode(encoded)
    assert heard.encode() == encoded
    assert (heard.called_ae_title.strip(), heard.calling_ae_title.strip()) == (called, calling)
    assert [
        (c.presentation_context_id, c.abstract_syntax, c.transfer_syntax)
        for c in heard.presentation_context
    ] == [(2 * n + 1, uid, list(s)) for n, (uid, s) in enumerate(proposed)]
    user = heard.user_information
    assert user.maximum_length == max_length
    assert user.implementation_class_uid == user_information.OUR_CLASS_UID
    assert user.implementation_version_name == user_information.OUR_VERSION_NAME
    assert {
        uid: (bool(role.scu_role), bool(role.scp_role))
        for uid, role in (user.role_selection or {}).items()
    } == agreed
    assert decode_associate_rq(encoded).user.roles == agreed


results = st.lists(st.tuples(uids, uids, st.sampled_from([0, 1, 2, 3, 4])), min_size=1, max_size=5)


@settings(max_examples=40)
@given(results, st.integers(4096, 1 << 20), peers(), roles, st.frozensets(uids, max_size=2), noise)
def test_accept_of_ours_is_heard(answers, max_length, user, agreed, extended, junk):
    asked = peer_request(*((abstract, [syntax]) for abstract, syntax, _ in answers))
    said = user_information.encode_ac(max_length, user, agreed, extended)
    encoded = encode_associate_ac(
        asked, [ContextResult(2 * n + 1, *answer) for n, answer in enumerate(answers)], said
    )
    heard = A_ASSOCIATE_AC()
    heard.decode(encoded)
    assert [(c.context_id, c.result) for c in heard.presentation_context] == [
        (2 * n + 1, result) for n, (_, _, result) in enumerate(answers)
    ]
    assert [c.transfer_syntax for c in heard.presentation_context if c.result == 0] == [
        syntax for _, syntax, result in answers if result == 0
    ]
    information = heard.user_information
    assert information.maximum_length == max_length
    assert set(information.role_selection or {}) == set(agreed)
    assert {found.sop_class_uid for found in information.ext_neg or []} == extended
    window = information.async_ops_window
    assert (window is not None) == user.asynchronous
    if window is not None:
        assert window.maximum_number_operations_invoked == 1
        assert window.maximum_number_operations_performed == 1
    requested = user.identity is not None and user.identity.response_requested
    assert (information.user_identity is not None) == requested
    read_back = decode_associate_ac(encoded)
    assert read_back == decode_associate_ac(disturbed(encoded, junk, [item(0x99, b"?")]))
    assert read_back.contexts == {
        2 * n + 1: (result, syntax) for n, (_, syntax, result) in enumerate(answers)
    }
    assert (read_back.user.max_length, read_back.user.roles) == (max_length, agreed)


@settings(max_examples=40)
@given(results, peers(), noise, unknown)
def test_accept_of_the_peer_is_heard(answers, user, junk, strangers):
    heard = A_ASSOCIATE_RQ()
    heard.decode(
        peer_request(
            *((abstract, [syntax]) for abstract, syntax, _ in answers), max_length=user.max_length
        )
    )
    primitive: A_ASSOCIATE = heard.to_primitive()
    primitive.result, primitive.result_source = 0, 1
    definitions = list(primitive.presentation_context_definition_list)
    for context, (_, _, result) in zip(definitions, answers, strict=True):
        context.result = result
    primitive.presentation_context_definition_results_list = definitions
    encoded = A_ASSOCIATE_AC(primitive).encode()
    accept = decode_associate_ac(disturbed(encoded, junk, strangers))
    assert {number: result for number, (result, _) in accept.contexts.items()} == {
        2 * n + 1: result for n, (_, _, result) in enumerate(answers)
    }
    for number, (_, syntax, result) in enumerate(answers):
        if result == 0:
            assert accept.contexts[2 * number + 1] == (0, syntax)
    assert accept.user.max_length == user.max_length
    assert accept.user.implementation_class_uid == "1.2.3"


# PS3.8 9.3.4: source and the reasons it may give
REJECTIONS = [(1, reason) for reason in (1, 2, 3, 7)] + [(2, 1), (2, 2), (3, 1), (3, 2)]


def hear(layer, data):
    room = layer.writable()
    room[: len(data)] = data
    layer.received(len(data))
    return layer.next_event()


@pytest.mark.parametrize("result", [1, 2])
@pytest.mark.parametrize(("source", "reason"), REJECTIONS)
def test_reject_there_and_back(result, source, reason):
    heard = A_ASSOCIATE_RJ()
    heard.decode(pdu.associate_rj(result, source, reason))
    assert (heard.result, heard.source, heard.reason_diagnostic) == (result, source, reason)
    assert heard.encode() == pdu.associate_rj(result, source, reason)
    for reserved in (b"\0", b"\xff"):
        encoded = b"\3" + reserved + heard.encode()[2:6] + reserved + heard.encode()[7:]
        event = hear(UpperLayer(acceptor=False, max_pdu=MAX_PDU), encoded)
        assert isinstance(event, AssociatePDU)
        assert tuple(event.encoded[7:10]) == (result, source, reason)


@pytest.mark.parametrize(("source", "reason"), [(0, 0)] + [(2, r) for r in (0, 1, 2, 4, 5, 6)])
def test_abort_there_and_back(source, reason):
    heard = A_ABORT_RQ()
    heard.decode(pdu.abort(source, reason))
    assert (heard.source, heard.reason_diagnostic) == (source, reason)
    noisy = b"\7\xee" + heard.encode()[2:6] + b"\xee\xee" + heard.encode()[8:]
    assert hear(UpperLayer(acceptor=True, max_pdu=MAX_PDU), noisy) == Aborted(source, reason)


def established():
    layer = UpperLayer(acceptor=True, max_pdu=MAX_PDU)
    hear(layer, peer_request())
    layer.accept(b"")
    return layer


@given(st.binary(min_size=5, max_size=5))
def test_release_has_noise_in_its_reserved_bytes(junk):
    layer = established()
    encoded = b"\5" + junk[:1] + b"\0\0\0\4" + junk[1:]
    assert hear(layer, encoded) is Signal.RELEASE_REQUESTED


@settings(max_examples=40)
@given(st.lists(st.binary(min_size=0, max_size=300), min_size=1, max_size=6), st.integers(0, 255))
def test_data_of_the_peer_is_heard(values, reserved):
    """Several PDVs in a PDU, reserved bits of the control header set (PS3.8 E.2)."""
    message = P_DATA_TF()
    for number, value in enumerate(values):
        last = 2 if number == len(values) - 1 else 0
        fragment = PresentationDataValueItem()
        fragment.presentation_context_id = 1
        fragment.presentation_data_value = bytes((last | 0xFC & reserved,)) + value
        message.presentation_data_value_items.append(fragment)
    layer = established()
    layer.data_context = 1
    encoded = message.encode()
    event = hear(layer, encoded[:1] + bytes((reserved,)) + encoded[2:])
    heard = []
    while event is not Signal.NEED_DATA:
        assert isinstance(event, DataFragment)
        heard.append((event.context_id, bytes(event.view), event.last))
        event = layer.next_event()
    assert heard == [(1, value, n == len(values) - 1) for n, value in enumerate(values)]


@settings(max_examples=40)
@given(st.binary(min_size=1, max_size=2000), st.integers(1, 500), st.booleans())
def test_data_of_ours_is_heard(data, half_step, last):
    pieces = list(fragments(memoryview(data), 7, 2 * half_step, last=last))
    heard = b""
    for header, piece in zip(pieces[::2], pieces[1::2], strict=True):
        message = P_DATA_TF()
        message.decode(bytes(header) + bytes(piece))
        (value,) = message.to_primitive().presentation_data_value_list
        assert value[0] == 7
        heard += value[1][1:]
        ends = last and len(heard) == len(data)
        assert value[1][0] == (2 if ends else 0)
        assert len(bytes(header) + bytes(piece)) - 6 <= 2 * half_step + 6
    assert heard == data

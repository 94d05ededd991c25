"""Command sets, with pynetdicom's DIMSE messages as the peer."""

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.dimse_messages import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_FIND_RQ,
    C_STORE_RQ,
    C_STORE_RSP,
    DIMSEMessage,
)
from pynetdicom.dimse_primitives import C_CANCEL, C_ECHO, C_FIND, C_STORE
from pynetdicom.pdu import P_DATA_TF

from adapter.domain.messages import MoveOriginator
from adapter.protocols.dimse import command_set, pdu
from adapter.protocols.dimse.command_set import Command, MalformedCommandError

CT, VERIFICATION = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.1"
MOVER = MoveOriginator(ae_title="MOVER", message_id=9)
REQUEST = Command(1, 7, CT, "1.2.3.45", True, None, priority=1, move_originator=MOVER)


def of_peer(message, primitive):
    """Return the command set pynetdicom encodes."""
    message = message()
    message.primitive_to_message(primitive)
    fragments = [
        value
        for pdata in message.encode_msg(1, 16382)
        for _, value in pdata.presentation_data_value_list
    ]
    return b"".join(value[1:] for value in fragments if value[0] & 1)


def by_peer(encoded):
    """Return what pynetdicom makes of a P-DATA-TF of ours: (context id, primitive)."""
    message, complete = DIMSEMessage(), False
    data = pdu.P_DATA_HEADER.pack(pdu.P_DATA_TF, 8, 4, encoded[10], 2) + b"\0\0"
    for each in (encoded, data):
        if not complete:  # a data set follows where the command announces one
            decoded = P_DATA_TF()
            decoded.decode(each)
            complete = message.decode_msg(decoded.to_primitive())
    assert complete
    return message.context_id, message.message_to_primitive()


def store():
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 7, 1
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CT, "1.2.3.45"
    primitive.MoveOriginatorApplicationEntityTitle = "MOVER"
    primitive.MoveOriginatorMessageID = 9
    primitive.DataSet = BytesIO(b"\0\0")
    return primitive


def test_store_request_of_pynetdicom_is_understood():
    assert command_set.decode(of_peer(C_STORE_RQ, store())) == REQUEST


def test_store_response_of_pynetdicom_is_understood():
    primitive = store()
    primitive.MessageIDBeingRespondedTo, primitive.Status = 7, 0xA700
    primitive.DataSet = None
    command = command_set.decode(of_peer(C_STORE_RSP, primitive))
    assert (command.field, command.message_id, command.status) == (0x8001, 7, 0xA700)
    assert (command.sop_class_uid, command.sop_instance_uid) == (CT, "1.2.3.45")
    assert not command.has_data_set


def test_echo_request_of_pynetdicom_is_understood():
    primitive = C_ECHO()
    primitive.MessageID, primitive.AffectedSOPClassUID = 3, VERIFICATION
    command = command_set.decode(of_peer(C_ECHO_RQ, primitive))
    assert command == Command(command_set.C_ECHO_RQ, 3, VERIFICATION, "", False, None)


@pytest.mark.parametrize(
    "title", [b"", b"   ", b"A\\B ", b"\xff\xfe", b"MORE-THAN-SIXTEEN-CHARACTERS"]
)
def test_move_originator_that_is_no_ae_title_says_nothing(title):
    elements = {0x0002: CT.encode(), 0x0100: b"\1\0", 0x0110: b"\7\0", 0x0800: b"\1\0",
                0x1000: b"1.2.3.45", 0x1030: title, 0x1031: b"\1\0"}  # fmt: skip
    encoded = b"".join(
        b"\0\0" + tag.to_bytes(2, "little") + len(value).to_bytes(4, "little") + value
        for tag, value in elements.items()
    )
    assert command_set.decode(encoded).move_originator is None


def test_message_id_of_a_cancel_is_the_one_it_cancels():
    primitive = C_CANCEL()
    primitive.MessageIDBeingRespondedTo = 12
    command = command_set.decode(of_peer(C_CANCEL_RQ, primitive))
    assert (command.field, command.message_id) == (command_set.C_CANCEL_RQ, 12)


def test_another_service_is_understood_well_enough_to_refuse_it():
    primitive = C_FIND()
    primitive.MessageID, primitive.Priority = 4, 2
    primitive.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.2.2.1"
    primitive.Identifier = BytesIO(b"\0\0")
    command = command_set.decode(of_peer(C_FIND_RQ, primitive))
    assert (command.field, command.message_id, command.has_data_set) == (0x0020, 4, True)


def test_pynetdicom_understands_our_store_request():
    context_id, primitive = by_peer(command_set.store_request(5, 7, CT, "1.2.3"))
    assert context_id == 5
    assert type(primitive) is C_STORE
    assert (primitive.MessageID, primitive.Priority) == (7, 0)
    assert primitive.AffectedSOPClassUID == CT
    assert primitive.AffectedSOPInstanceUID == "1.2.3"


def test_pynetdicom_understands_our_echo_request():
    context_id, primitive = by_peer(command_set.echo_request(1, 65535, VERIFICATION))
    assert context_id == 1
    assert type(primitive) is C_ECHO
    assert (primitive.MessageID, primitive.AffectedSOPClassUID) == (65535, VERIFICATION)


def test_pynetdicom_understands_our_store_response():
    context_id, primitive = by_peer(command_set.response(3, REQUEST, 0xA700, "space is low"))
    assert context_id == 3
    assert primitive.MessageIDBeingRespondedTo == 7
    assert primitive.Status == 0xA700
    assert primitive.ErrorComment == "space is low"
    assert primitive.AffectedSOPClassUID == CT
    assert primitive.AffectedSOPInstanceUID == "1.2.3.45"


def test_pynetdicom_understands_our_echo_response():
    request = command_set.decode(command_set.echo_request(1, 9, VERIFICATION)[12:])
    _, primitive = by_peer(command_set.response(1, request, 0))
    assert type(primitive) is C_ECHO
    assert (primitive.MessageIDBeingRespondedTo, primitive.Status) == (9, 0)


def test_error_comment_has_at_most_64_characters():
    _, primitive = by_peer(command_set.response(1, REQUEST, 0x0110, "\u00e4" + "x" * 100))
    assert primitive.ErrorComment == "?" + "x" * 63


uids = st.from_regex(r"[12](\.[1-9][0-9]{0,5}){1,8}", fullmatch=True)


@settings(max_examples=60)
@given(uids, uids, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.text(max_size=70))
def test_our_response_is_read_back(sop_class, sop_instance, message_id, status, comment):
    request = Command(1, message_id, sop_class, sop_instance, True, None)
    encoded = command_set.response(1, request, status, comment)
    assert len(encoded) % 2 == 0
    command = command_set.decode(encoded[12:])
    assert command == Command(0x8001, message_id, sop_class, sop_instance, False, status)


@settings(max_examples=60)
@given(uids, uids, st.integers(0, 0xFFFF))
def test_our_request_is_read_back(sop_class, sop_instance, message_id):
    encoded = command_set.store_request(1, message_id, sop_class, sop_instance)
    command = command_set.decode(encoded[12:])
    assert command == Command(1, message_id, sop_class, sop_instance, True, None)


def test_lengths_of_our_pdata_agree():
    encoded = command_set.store_request(5, 7, CT, "1.2.3")
    assert int.from_bytes(encoded[2:6], "big") == len(encoded) - 6
    assert int.from_bytes(encoded[6:10], "big") == len(encoded) - 10
    assert encoded[10:12] == b"\x05\x03"
    group_length = int.from_bytes(encoded[20:24], "little")
    assert group_length == len(encoded) - 24


def element(number, value):
    return bytes((0, 0)) + number.to_bytes(2, "little") + len(value).to_bytes(4, "little") + value


COMPLETE = {0x0100: b"\1\0", 0x0110: b"\7\0", 0x0800: b"\0\0"}
ESSENTIAL = (0x0100, 0x0110)
STORE = {
    0x0002: CT.encode() + b"\0", **COMPLETE, 0x0700: b"\2\0", 0x1000: b"1.2.3.45",
}  # fmt: skip


@pytest.mark.parametrize("missing", ESSENTIAL)
def test_missing_element_is_named(missing):
    elements = [element(number, value) for number, value in COMPLETE.items() if number != missing]
    with pytest.raises(MalformedCommandError, match=rf"\(0000,{missing:04X}\) is missing"):
        command_set.decode(b"".join(elements))


@pytest.mark.parametrize("wrong", ESSENTIAL)
def test_element_of_the_wrong_length_is_refused(wrong):
    elements = [
        element(number, value + b"\0\0" if number == wrong else value)
        for number, value in COMPLETE.items()
    ]
    with pytest.raises(MalformedCommandError, match="wrong length"):
        command_set.decode(b"".join(elements))


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x08\x00\x05\x00\x00\x00\x00\x00",
        element(0x0100, b"\1\0")[:-1],
        b"\0\0\0\1\xff\xff\xff\xff",
        b"\0\0\0",
    ],
)
def test_lying_lengths_and_foreign_groups_are_refused(encoded):
    with pytest.raises(MalformedCommandError):
        command_set.decode(encoded)


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.builds(
                element, st.sampled_from([0, 2, 0x100, 0x110, 0x120, 0x800, 0x900, 0x1000]),
                st.binary(max_size=4),
            ),
            st.binary(max_size=12),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_noise_is_malformed_or_a_command_that_can_be_answered(pieces):
    try:
        command = command_set.decode(b"".join(pieces))
    except MalformedCommandError:
        return
    answer = command_set.decode(command_set.response(1, command, 0x0211)[12:])
    assert answer.status == 0x0211


def of_elements(elements):
    return command_set.decode(b"".join(element(number, elements[number]) for number in elements))


@pytest.mark.parametrize("missing", [0x0002, 0x0800, 0x1000])
def test_request_without_an_element_it_needs_is_mistyped(missing):
    """It can be answered, and what follows is known: 0x0212 (PS3.7 C.5), no abort."""
    command = of_elements({k: v for k, v in STORE.items() if k != missing})
    assert command.mistyped == f"(0000,{missing:04X}) is missing"
    assert (command.field, command.message_id, command.has_data_set) == (1, 7, True)


@pytest.mark.parametrize("wrong", [0x0700, 0x0800])
@pytest.mark.parametrize("value", [b"", b"\1", b"\1\0\0\0"])
def test_element_of_another_type_is_mistyped(wrong, value):
    command = of_elements(STORE | {wrong: value})
    assert command.mistyped == f"(0000,{wrong:04X}) has the wrong length"
    assert (command.message_id, command.has_data_set) == (7, True)


def test_echo_that_does_not_say_what_follows_has_no_data_set():
    command = of_elements({0x0002: b"1.2.840.10008.1.1", 0x0100: b"\x30\0", 0x0110: b"\1\0"})
    assert (command.mistyped, command.has_data_set) == ("(0000,0800) is missing", False)


def test_request_without_a_priority_is_served():
    """Nothing is made of it."""
    assert not of_elements({k: v for k, v in STORE.items() if k != 0x0700}).mistyped


def pdus_of(encoded):
    """Return each P-DATA-TF: its length, and (context id, control, value) of its one PDV."""
    found, at = [], 0
    while at < len(encoded):
        length = int.from_bytes(encoded[at + 2 : at + 6], "big")
        assert encoded[at] == 4
        assert int.from_bytes(encoded[at + 6 : at + 10], "big") == length - 4
        found.append((length, *encoded[at + 10 : at + 12], encoded[at + 12 : at + 6 + length]))
        at += 6 + length
    return found


@pytest.mark.parametrize("max_length", [8, 9, 64, 100, 16384, 0])
def test_no_pdu_is_longer_than_the_peer_takes(max_length):
    for whole, encoded in (
        (command_set.response(3, REQUEST, 0), command_set.response(3, REQUEST, 0, "", max_length)),
        (
            command_set.store_request(3, 1, CT, "1.2.3"),
            command_set.store_request(3, 1, CT, "1.2.3", max_length),
        ),
        (command_set.echo_request(3, 1, CT), command_set.echo_request(3, 1, CT, max_length)),
    ):
        pieces = pdus_of(encoded)
        assert all(length <= (max_length or length) for length, *_ in pieces)
        assert [control for _, _, control, _ in pieces] == [1] * (len(pieces) - 1) + [3]
        assert {context_id for _, context_id, _, _ in pieces} == {3}
        assert b"".join(value for *_, value in pieces) == whole[12:]


@pytest.mark.parametrize("uid", ["1." * 40, "x" * 60000, "\\xff" * 30])
def test_what_cannot_be_a_uid_is_not_repeated(uid):
    answer = command_set.response(1, Command(1, 7, uid, uid, True, None), 0x0117)
    decoded = command_set.decode(answer[12:])
    assert (decoded.sop_class_uid, decoded.sop_instance_uid) == ("", "")
    assert len(answer) < 200


# --- N-ACTION and N-EVENT-REPORT

COMMITMENT, COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"


@pytest.mark.parametrize(
    ("encode", "field", "attributes"),
    [
        (
            command_set.action_request,
            0x0130,
            ("RequestedSOPClassUID", "RequestedSOPInstanceUID", "ActionTypeID"),
        ),
        (
            command_set.event_report_request,
            0x0100,
            ("AffectedSOPClassUID", "AffectedSOPInstanceUID", "EventTypeID"),
        ),
    ],
)
def test_peer_reads_our_normalised_requests_and_so_do_we(encode, field, attributes):
    encoded = encode(3, 7, COMMITMENT, COMMITMENT_INSTANCE, 2)
    context_id, seen = by_peer(encoded)
    assert [getattr(seen, name) for name in attributes] == [COMMITMENT, COMMITMENT_INSTANCE, 2]
    assert (seen.MessageID, context_id) == (7, 3)
    ours = command_set.decode(encoded[12:])
    assert (ours.sop_class_uid, ours.sop_instance_uid) == (COMMITMENT, COMMITMENT_INSTANCE)
    assert (ours.field, ours.type, ours.message_id, ours.has_data_set) == (field, 2, 7, True)

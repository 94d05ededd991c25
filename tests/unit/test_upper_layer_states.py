"""Every cell of PS3.8 Table 9-10, both roles, driven through the real upper layer.

The table stands here as in the Standard, written down anew: events from top to bottom, states from
left to right, an action in each cell, a dot where the pair is impossible. Sta1 and Sta4 have no
column: the layer is made when the connection is there, and is thrown away when it is gone.
"""

import pytest

from adapter.protocols.dimse import associate, command_set
from adapter.protocols.dimse.layer_events import (
    Aborted,
    AssociatePDU,
    CommandReceived,
    ProtocolViolationError,
    Signal,
)
from adapter.protocols.dimse.upper_layer import UpperLayer

TABLE = """
           2    3    5    6    7    8    9    10   11   12   13
AC         AA1  AA8  AE3  AA8  AA8  AA8  AA8  AA8  AA8  AA8  AA6
RJ         AA1  AA8  AE4  AA8  AA8  AA8  AA8  AA8  AA8  AA8  AA6
RQ         AE6  AA8  AA8  AA8  AA8  AA8  AA8  AA8  AA8  AA8  AA7
DATA       AA1  AA8  AA8  DT2  AR6  AA8  AA8  AA8  AA8  AA8  AA6
RELEASE-RQ AA1  AA8  AA8  AR2  AR8  AA8  AA8  AA8  AA8  AA8  AA6
RELEASE-RP AA1  AA8  AA8  AA8  AR3  AA8  AA8  AR10 AR3  AA8  AA6
ABORT      AA2  AA3  AA3  AA3  AA3  AA3  AA3  AA3  AA3  AA3  AA2
UNKNOWN    AA1  AA8  AA8  AA8  AA8  AA8  AA8  AA8  AA8  AA8  AA7
INVALID    AA1  AA8  AA8  AA8  AA8  AA8  AA8  AA8  AA8  AA8  AA7
closed     AA5  AA4  AA4  AA4  AA4  AA4  AA4  AA4  AA4  AA4  AR5
accept     .    AE7  .    .    .    .    .    .    .    .    .
reject     .    AE8  .    .    .    .    .    .    .    .    .
release    .    .    .    AR1  .    .    .    .    .    .    .
confirm    .    .    .    .    .    AR4  AR9  .    .    AR4  .
abort      AA2  AA1  AA1  AA1  AA1  AA1  AA1  AA1  AA1  AA1  AA2
"""
ROLES = {"acceptor": (2, 3, 6, 7, 8, 10, 12, 13), "requestor": (5, 6, 7, 8, 9, 11, 13)}

CT, IMPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2"
RQ = associate.encode_associate_rq(
    "BRAIN", "CT1", [associate.ProposedContext(1, CT, (IMPLICIT,))], 16384
)
AC = associate.encode_associate_ac(RQ, [associate.ContextResult(1, CT, IMPLICIT, 0)], b"")
RJ = bytes.fromhex("0300 00000004 00 02 03 02")
RELEASE_RQ = bytes.fromhex("0500 00000004 00000000")
RELEASE_RP = bytes.fromhex("0600 00000004 00000000")
COMMAND = command_set.echo_request(1, 7, "1.2.840.10008.1.1")
PDUS = {
    "AC": AC, "RJ": RJ, "RQ": RQ, "DATA": COMMAND, "RELEASE-RQ": RELEASE_RQ,
    "RELEASE-RP": RELEASE_RP, "ABORT": bytes.fromhex("0700 00000004 0000 02 05"),
    "UNKNOWN": bytes.fromhex("0800 00000004 00000000"),
    "INVALID": bytes.fromhex("0500 00000005 0000000000"),
}  # fmt: skip
REASONS = {"UNKNOWN": 1, "INVALID": 6}  # PS3.8 9.3.8; any other PDU that is not due: 2
BY_USER = bytes.fromhex("0700 00000004 0000 00 00")


def by_provider(reason):
    return bytes.fromhex("0700 00000004 0000 02") + bytes((reason,))


def hear(layer, data, size=1 << 20):
    """Return the last event of these bytes, or the violation."""
    event = None
    while data:
        room = layer.writable()
        count = min(len(room), len(data), size)
        room[:count] = data[:count]
        layer.received(count)
        data = data[count:]
        try:
            event = layer.next_event()
        except ProtocolViolationError as violation:
            return violation
    return event


def acceptor_in(state):
    layer = UpperLayer(acceptor=True, max_pdu=16384)
    if state != 2:
        hear(layer, RQ)
    if state not in (2, 3):
        layer.accept(AC)
    if state in (7, 10, 12):
        layer.release()
    if state in (8, 10, 12):
        hear(layer, RELEASE_RQ)
    if state == 12:
        hear(layer, RELEASE_RP)
    if state == 13:
        layer.abort()
    return layer


def requestor_in(state):
    layer = UpperLayer(acceptor=False, max_pdu=16384)
    if state != 5:
        hear(layer, AC)
    if state in (7, 9, 11):
        layer.release()
    if state in (8, 9, 11):
        hear(layer, RELEASE_RQ)
    if state == 11:
        layer.confirm_release()
    if state == 13:
        layer.abort()
    return layer


def brought_to(role, state):
    layer = acceptor_in(state) if role == "acceptor" else requestor_in(state)
    assert now(layer) == state
    return layer


def now(layer):
    return int(layer.state.name.removeprefix("STA"))


def cells():
    first, *rows = TABLE.strip().splitlines()
    columns = [int(number) for number in first.split()]
    for row in rows:
        event, *actions = row.split()
        for state, action in zip(columns, actions, strict=True):
            yield event, state, action


def drivable(events, *, possible=True):
    return [
        (role, event, state, action)
        for role, states in ROLES.items()
        for event, state, action in cells()
        if state in states and (event in PDUS) == events and (action != ".") == possible
    ]


HEARD = {  # what the user of the layer is told, and the state behind it
    "AE3": (AssociatePDU(2, AC), 6), "AE4": (AssociatePDU(3, RJ), 1),
    "AE6": (AssociatePDU(1, RQ), 3), "DT2": (CommandReceived(1, COMMAND[12:]), 6),
    "AR2": (Signal.RELEASE_REQUESTED, 8), "AR3": (Signal.RELEASED, 1),
    "AR5": (Signal.CLOSED, 1), "AR6": (CommandReceived(1, COMMAND[12:]), 7),
    "AR10": (Signal.RELEASED, 12), "AA2": (Aborted(2, 5), 1), "AA3": (Aborted(2, 5), 1),
    "AA4": (Signal.CLOSED, 1), "AA5": (Signal.CLOSED, 1), "AA6": (Signal.IGNORED, 13),
    # AA-7 sends A-ABORT to a peer that talks on; our last words are out and the sending half is
    # shut by then, so it is ignored and the close awaited, as after AA-6.
    "AA7": (Signal.IGNORED, 13),
}  # fmt: skip
SAID = {  # what goes to the peer at a local request, and the state behind it
    "AE7": (AC, 6), "AE8": (RJ, 13), "AR1": (RELEASE_RQ, 7), "AR4": (RELEASE_RP, 13),
    "AR9": (RELEASE_RP, 11), "AA1": (BY_USER, 13),
}  # fmt: skip
LOCAL = {
    "accept": lambda layer: layer.accept(AC), "reject": lambda layer: layer.reject(2, 3, 2),
    "release": UpperLayer.release, "confirm": UpperLayer.confirm_release,
    "abort": UpperLayer.abort,
}  # fmt: skip


@pytest.mark.parametrize("size", [1 << 20, 1], ids=["whole", "bytewise"])
@pytest.mark.parametrize(("role", "event", "state", "action"), drivable(True))
def test_pdu_is_met_with_its_action(role, event, state, action, size):
    layer = brought_to(role, state)
    if state == 13:
        size = 1 << 20  # nothing is waited for any more: each piece is ignored by itself
    heard = hear(layer, PDUS[event], size)
    if action in ("AA1", "AA8"):
        assert isinstance(heard, ProtocolViolationError)
        assert heard.reply == (BY_USER if action == "AA1" else by_provider(REASONS.get(event, 2)))
        assert now(layer) == 13
    elif action == "AR8":
        collision = 10 if role == "acceptor" else 9
        assert (heard, now(layer)) == (Signal.RELEASE_REQUESTED, collision)
    else:
        assert (heard, now(layer)) == HEARD[action]


@pytest.mark.parametrize(("role", "event", "state", "action"), drivable(False))
def test_local_event_is_met_with_its_action(role, event, state, action):
    layer = brought_to(role, state)
    if event == "closed":
        assert (layer.closed(), now(layer)) == HEARD[action]
    elif (event, action) == ("abort", "AA2"):
        # ARTIM ran out (Evt18), or it is over already: the close says it all.
        assert layer.abort() == b""
        assert now(layer) == (1 if state == 2 else 13)
    else:
        assert (LOCAL[event](layer), now(layer)) == SAID[action]


@pytest.mark.parametrize(("role", "event", "state", "_"), drivable(False, possible=False))
def test_impossible_pair_is_a_bug_of_ours(role, event, state, _):
    layer = brought_to(role, state)
    with pytest.raises(KeyError):
        LOCAL[event](layer)
    assert now(layer) == state


@pytest.mark.parametrize("role", ROLES)
def test_a_closed_association_stays_closed(role):
    layer = brought_to(role, 6)
    layer.closed()
    for data in PDUS.values():
        assert hear(layer, data) is Signal.CLOSED
    assert layer.closed() is Signal.CLOSED
    assert layer.abort() == b""


def test_release_collision_of_the_acceptor_ends_released():
    """PS3.8 9.2.2: the acceptor hears the confirmation first, then gives its own."""
    layer = brought_to("acceptor", 10)
    assert hear(layer, RELEASE_RP) is Signal.RELEASED
    assert layer.confirm_release() == RELEASE_RP
    assert layer.closed() is Signal.CLOSED


def test_release_collision_of_the_requestor_ends_released():
    """The requestor confirms first, then hears the confirmation."""
    layer = brought_to("requestor", 9)
    assert layer.confirm_release() == RELEASE_RP
    assert hear(layer, RELEASE_RP) is Signal.RELEASED
    assert layer.closed() is Signal.CLOSED


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", sorted({1, 2, 3, 5, 6, 7}))
@pytest.mark.parametrize("length", [0, 3, 5, 0xFFFFFFFF])
def test_wrong_length_is_an_invalid_parameter_in_any_state(role, kind, length):
    """Judged by the header alone: nothing is waited for. Association PDUs may have any length."""
    if kind in (1, 2) and length != 0xFFFFFFFF:
        length = (1 << 20) + 1
    header = bytes((kind, 0)) + length.to_bytes(4, "big")
    for state in ROLES[role]:
        if state != 13:
            heard = hear(brought_to(role, state), header)
            assert isinstance(heard, ProtocolViolationError), state
            assert heard.reply == (BY_USER if state == 2 else by_provider(6)), state

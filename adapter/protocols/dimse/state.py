"""The upper layer state machine of PS3.8 9.2, both roles, as one table.

Rules: Table 9-10 is written out whole; a pair that is not listed cannot happen and is a bug of
ours. Names of states, events and actions are the Standard's. What an action does is carried out by
`upper_layer.UpperLayer`; ARTIM is run by whoever does the I/O.
"""

from enum import Enum


class State(Enum):
    """PS3.8 Tables 9-1 to 9-5."""

    STA1 = "idle"
    STA2 = "transport open, awaiting A-ASSOCIATE-RQ"
    STA3 = "awaiting local A-ASSOCIATE response"
    STA4 = "awaiting transport connection opening"
    STA5 = "awaiting A-ASSOCIATE-AC or A-ASSOCIATE-RJ"
    STA6 = "association established, ready for data transfer"
    STA7 = "awaiting A-RELEASE-RP"
    STA8 = "awaiting local A-RELEASE response"
    STA9 = "release collision, requestor, awaiting local A-RELEASE response"
    STA10 = "release collision, acceptor, awaiting A-RELEASE-RP"
    STA11 = "release collision, requestor, awaiting A-RELEASE-RP"
    STA12 = "release collision, acceptor, awaiting local A-RELEASE response"
    STA13 = "awaiting transport connection close"


class Event(Enum):
    """PS3.8 Table 9-10, first column."""

    EVT1 = "A-ASSOCIATE request (local)"
    EVT2 = "transport connection confirmed"
    EVT3 = "A-ASSOCIATE-AC received"
    EVT4 = "A-ASSOCIATE-RJ received"
    EVT5 = "transport connection indication"
    EVT6 = "A-ASSOCIATE-RQ received"
    EVT7 = "A-ASSOCIATE response accept (local)"
    EVT8 = "A-ASSOCIATE response reject (local)"
    EVT9 = "P-DATA request (local)"
    EVT10 = "P-DATA-TF received"
    EVT11 = "A-RELEASE request (local)"
    EVT12 = "A-RELEASE-RQ received"
    EVT13 = "A-RELEASE-RP received"
    EVT14 = "A-RELEASE response (local)"
    EVT15 = "A-ABORT request (local)"
    EVT16 = "A-ABORT received"
    EVT17 = "transport connection closed"
    EVT18 = "ARTIM expired"
    EVT19 = "unrecognized or invalid PDU received"


EVENT_OF_PDU = {
    1: Event.EVT6,
    2: Event.EVT3,
    3: Event.EVT4,
    4: Event.EVT10,
    5: Event.EVT12,
    6: Event.EVT13,
    7: Event.EVT16,
}
"""By PDU type (PS3.8 9.3); any other type is Evt19."""


class Action(Enum):
    """PS3.8 Tables 9-6 to 9-9."""

    AE1 = "open transport connection"
    AE2 = "send A-ASSOCIATE-RQ"
    AE3 = "confirm A-ASSOCIATE accept"
    AE4 = "confirm A-ASSOCIATE reject, close"
    AE5 = "start ARTIM"
    AE6 = "stop ARTIM, indicate A-ASSOCIATE"
    AE7 = "send A-ASSOCIATE-AC"
    AE8 = "send A-ASSOCIATE-RJ, start ARTIM"
    DT1 = "send P-DATA-TF"
    DT2 = "indicate P-DATA"
    AR1 = "send A-RELEASE-RQ"
    AR2 = "indicate A-RELEASE"
    AR3 = "confirm A-RELEASE, close"
    AR4 = "send A-RELEASE-RP, start ARTIM"
    AR5 = "stop ARTIM"
    AR6 = "indicate P-DATA while releasing"
    AR7 = "send P-DATA-TF while releasing"
    AR8 = "indicate A-RELEASE (collision)"
    AR9 = "send A-RELEASE-RP"
    AR10 = "confirm A-RELEASE"
    AA1 = "send A-ABORT (service-user), start ARTIM"
    AA2 = "stop ARTIM, close"
    AA3 = "indicate A-ABORT, close"
    AA4 = "indicate A-P-ABORT"
    AA5 = "stop ARTIM, the peer never asked"
    AA6 = "ignore"
    AA7 = "send A-ABORT"
    AA8 = "send A-ABORT (service-provider), indicate A-P-ABORT, start ARTIM"


S, E, A = State, Event, Action
_CONNECTED = (S.STA3, S.STA5, S.STA6, S.STA7, S.STA8, S.STA9, S.STA10, S.STA11, S.STA12)
_PDU_EVENTS = (E.EVT3, E.EVT4, E.EVT6, E.EVT10, E.EVT12, E.EVT13, E.EVT19)


def _table() -> dict[tuple[State, Event], tuple[Action, State]]:
    table: dict[tuple[State, Event], tuple[Action, State]] = {}
    for event in _PDU_EVENTS:  # the default reaction to a PDU; the exceptions follow
        table[S.STA2, event] = (A.AA1, S.STA13)
        table[S.STA13, event] = (A.AA6, S.STA13)
        for state in _CONNECTED:
            table[state, event] = (A.AA8, S.STA13)
    for state in _CONNECTED:
        table[state, E.EVT15] = (A.AA1, S.STA13)
        table[state, E.EVT16] = (A.AA3, S.STA1)
        table[state, E.EVT17] = (A.AA4, S.STA1)
    table |= {
        (S.STA1, E.EVT1): (A.AE1, S.STA4),
        (S.STA4, E.EVT2): (A.AE2, S.STA5),
        (S.STA5, E.EVT3): (A.AE3, S.STA6),
        (S.STA5, E.EVT4): (A.AE4, S.STA1),
        (S.STA1, E.EVT5): (A.AE5, S.STA2),
        (S.STA2, E.EVT6): (A.AE6, S.STA3),
        (S.STA13, E.EVT6): (A.AA7, S.STA13),
        (S.STA3, E.EVT7): (A.AE7, S.STA6),
        (S.STA3, E.EVT8): (A.AE8, S.STA13),
        (S.STA6, E.EVT9): (A.DT1, S.STA6),
        (S.STA8, E.EVT9): (A.AR7, S.STA8),
        (S.STA6, E.EVT10): (A.DT2, S.STA6),
        (S.STA7, E.EVT10): (A.AR6, S.STA7),
        (S.STA6, E.EVT11): (A.AR1, S.STA7),
        (S.STA6, E.EVT12): (A.AR2, S.STA8),
        (S.STA7, E.EVT12): (A.AR8, S.STA9),  # as requestor; STA10 as acceptor, see next_state
        (S.STA7, E.EVT13): (A.AR3, S.STA1),
        (S.STA10, E.EVT13): (A.AR10, S.STA12),
        (S.STA11, E.EVT13): (A.AR3, S.STA1),
        (S.STA8, E.EVT14): (A.AR4, S.STA13),
        (S.STA9, E.EVT14): (A.AR9, S.STA11),
        (S.STA12, E.EVT14): (A.AR4, S.STA13),
        (S.STA4, E.EVT15): (A.AA2, S.STA1),
        (S.STA2, E.EVT16): (A.AA2, S.STA1),
        (S.STA13, E.EVT16): (A.AA2, S.STA1),
        (S.STA2, E.EVT17): (A.AA5, S.STA1),
        (S.STA4, E.EVT17): (A.AA4, S.STA1),
        (S.STA13, E.EVT17): (A.AR5, S.STA1),
        (S.STA2, E.EVT18): (A.AA2, S.STA1),
        (S.STA13, E.EVT18): (A.AA2, S.STA1),
        (S.STA13, E.EVT19): (A.AA7, S.STA13),
    }
    return table


TRANSITIONS = _table()


def next_state(state: State, event: Event, *, acceptor: bool) -> tuple[Action, State]:
    """Return what to do and the state that follows (PS3.8 Table 9-10).

    Raises:
        KeyError: The pair is impossible; a bug of ours.
    """
    action, following = TRANSITIONS[state, event]
    if action is Action.AR8 and acceptor:
        following = State.STA10
    return action, following

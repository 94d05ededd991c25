"""The upper layer state table against PS3.8 Table 9-10 and pynetdicom's copy of it."""

import itertools

import pytest
from pynetdicom.fsm import TRANSITION_TABLE

from adapter.protocols.dimse.state import TRANSITIONS, Action, Event, State, next_state

# PS3.8 Tables 9-6 to 9-9: the state behind each action
NEXT_STATES = {
    "AE1": {4}, "AE2": {5}, "AE3": {6}, "AE4": {1}, "AE5": {2}, "AE6": {3, 13}, "AE7": {6},
    "AE8": {13}, "DT1": {6}, "DT2": {6}, "AR1": {7}, "AR2": {8}, "AR3": {1}, "AR4": {13},
    "AR5": {1}, "AR6": {7}, "AR7": {8}, "AR8": {9, 10}, "AR9": {11}, "AR10": {12}, "AA1": {13},
    "AA2": {1}, "AA3": {1}, "AA4": {1}, "AA5": {1}, "AA6": {13}, "AA7": {13}, "AA8": {13},
}  # fmt: skip


def number(state):
    return int(state.name.removeprefix("STA"))


def test_table_is_pynetdicoms():
    ours = {
        (event.name.capitalize(), state.name.capitalize()): action.name
        for (state, event), (action, _) in TRANSITIONS.items()
    }
    assert ours == {pair: action.replace("-", "") for pair, action in TRANSITION_TABLE.items()}


@pytest.mark.parametrize("acceptor", [True, False])
def test_state_behind_each_action_is_the_standards(acceptor):
    for state, event in TRANSITIONS:
        action, following = next_state(state, event, acceptor=acceptor)
        assert number(following) in NEXT_STATES[action.name], (state, event)


def test_every_action_is_used():
    assert {action for action, _ in TRANSITIONS.values()} == set(Action)


def test_pair_that_is_not_listed_is_a_bug():
    for state, event in set(itertools.product(State, Event)) - set(TRANSITIONS):
        with pytest.raises(KeyError):
            next_state(state, event, acceptor=True)


def test_release_collision_depends_on_the_role():
    assert next_state(State.STA7, Event.EVT12, acceptor=False)[1] is State.STA9
    assert next_state(State.STA7, Event.EVT12, acceptor=True)[1] is State.STA10


@pytest.mark.parametrize("acceptor", [True, False])
def test_every_state_is_reached_and_leads_back_to_idle(acceptor):
    steps = {(s, e): next_state(s, e, acceptor=acceptor)[1] for s, e in TRANSITIONS}
    reached, last = {State.STA1}, set()
    while reached != last:
        last = reached
        reached = reached | {to for (state, _), to in steps.items() if state in reached}
    other_role = {State.STA9, State.STA11} if acceptor else {State.STA10, State.STA12}
    assert reached == set(State) - other_role
    home, last = {State.STA1}, set()
    while home != last:
        last = home
        home = home | {state for (state, _), to in steps.items() if to in home}
    assert home == set(State)


def test_every_open_state_hears_an_abort_and_a_close():
    for state in set(State) - {State.STA1, State.STA4}:
        assert TRANSITIONS[state, Event.EVT16][1] is State.STA1
        assert TRANSITIONS[state, Event.EVT17][1] is State.STA1

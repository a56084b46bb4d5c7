from pathlib import Path

from aserve.http1.states import TRANSITIONS, Event, State


def test_every_state_is_reachable_and_every_event_is_used():
    reached = {State.IDLE}
    while more := {to for (state, _), to in TRANSITIONS.items() if state in reached} - reached:
        reached |= more
    assert reached == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_every_state_can_close():
    assert all(TRANSITIONS[state, Event.ENDED] is State.CLOSED for state in State)


def test_closed_is_final():
    assert {to for (state, _), to in TRANSITIONS.items() if state is State.CLOSED} == {State.CLOSED}


def test_the_documented_diagram_matches_the_table():
    transitions = "\n".join(
        f"    {state.name} --> {to.name}: {event.name}"
        for (state, event), to in TRANSITIONS.items()
        if state is not State.CLOSED
    )
    diagram = f"stateDiagram-v2\n    [*] --> IDLE\n{transitions}\n    CLOSED --> [*]\n"
    assert diagram in (Path(__file__).parents[3] / "docs" / "architecture.md").read_text()

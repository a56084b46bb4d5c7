from pathlib import Path

from aserve.http1.states import TRANSITIONS, Event, State


def test_every_state_is_reached_and_every_event_moves_something():
    reached = {State.IDLE}
    while more := {to for (state, _), to in TRANSITIONS.items() if state in reached} - reached:
        reached |= more
    assert reached == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_every_state_can_end():
    assert all(TRANSITIONS[state, Event.ENDED] is State.CLOSED for state in State)


def test_nothing_leaves_the_end():
    assert {to for (state, _), to in TRANSITIONS.items() if state is State.CLOSED} == {State.CLOSED}


def test_the_documented_diagram_is_drawn_from_the_table():
    steps = "\n".join(
        f"    {state.name} --> {to.name}: {event.name}"
        for (state, event), to in TRANSITIONS.items()
        if state is not State.CLOSED
    )
    diagram = f"stateDiagram-v2\n    [*] --> IDLE\n{steps}\n    CLOSED --> [*]\n"
    assert diagram in (Path(__file__).parents[3] / "docs" / "architecture.md").read_text()

from pathlib import Path
from xml.etree import ElementTree as ET

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


def test_the_drawn_diagram_matches_the_table():
    svg = "{http://www.w3.org/2000/svg}"
    picture = ET.parse(Path(__file__).parents[3] / "docs" / "images" / "states.svg")
    drawn = set()
    for arrow in picture.findall(f".//{svg}g[@class='edge']"):
        state, _, to = arrow.find(f"{svg}title").text.partition("->")
        drawn |= {(state, to, event.text.strip()) for event in arrow.findall(f"{svg}text")}
    assert drawn == {
        (state.name, to.name, event.name)
        for (state, event), to in TRANSITIONS.items()
        if state is not State.CLOSED
    }, "run: python docs/images/states.py"

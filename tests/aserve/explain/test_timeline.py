"""Lanes, bars and arrows: of stored traces of real runs, and of events in any order."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.explain.book import book_steps
from aserve.explain.capture import RequestTrace
from aserve.explain.collect import collect
from aserve.explain.events import LISTENER, Activity, TraceEvent
from aserve.explain.lanes import Bar, Phase
from aserve.explain.phrase import Phrase
from aserve.explain.timeline import build_timeline
from aserve.explain.waiting import merge_repeats, tell_waiting
from aserve.explain.workflows import WORKFLOWS
from tests.aserve.explain.stored import NAMES, stored

TEXTS = [
    "queues an accept on the ring", "gets the completion of accept: {result}",
    "queues a receive on the ring", "gets the completion of receive: {result}",
    "queues a read of the file on the ring", "gets the completion of read: {result}",
    "queues a send on the ring", "gets the completion of send: {result}",
    "would block on the disk: {error}", "builds the response to {method} {target}", "x",
]  # fmt: skip
VALUES = {"result": "1", "error": "EAGAIN", "method": "GET", "target": "/"}
RESTS = [3.0, 12.0]
EVENTS = st.lists(
    st.builds(
        TraceEvent,
        st.integers(0, 20).map(float),
        st.sampled_from([-2, -1, 10, 11, 12]),
        st.sampled_from(TEXTS).map(lambda text: Phrase(text, VALUES)),
        st.sampled_from(Activity),
        started_at=st.integers(0, 20).map(float),
        ended_at=st.sampled_from([5.0, 15.0, float("inf")]),
        call=st.sampled_from(["", "epoll_wait(4, ...) = 1", "recvfrom(5) = 1", "io_uring_enter()"]),
        peer=st.sampled_from([LISTENER, 0, 5_000, 5_001]),
        key=st.sampled_from(["", "1", "2"]),
    ),
    min_size=1,
    max_size=25,
)


def trace_of(events, model="reactor"):
    events = tuple(merge_repeats(tell_waiting(events, RESTS, 20.0)))
    names = {10: "MainThread", 11: "worker-0"}
    return RequestTrace(model, False, model, "/", "200", events, names, True)


def bars_of(trace, name):
    """Return the bar of a lane at each step, None for none."""
    timeline = build_timeline(trace)
    lane = next(number for number, lane in enumerate(timeline.lanes) if str(lane.name) == name)
    bars = [None] * len(timeline.events)
    for span in timeline.spans:
        if span.lane == lane:
            bars[span.first : span.last + 1] = [span.bar] * (span.last - span.first + 1)
    return bars


def steps_of(trace, text):
    return [step for step, event in enumerate(trace.events) if event.text.startswith(text)]


def arrows_of(trace):
    timeline = build_timeline(trace)
    names = [str(lane.name) for lane in timeline.lanes]
    return {
        (timeline.events[arrow.step].text, names[arrow.start], names[arrow.end])
        for arrow in timeline.arrows
    }


@given(EVENTS, st.sampled_from([*WORKFLOWS, "epoll"]))
def test_bars_and_arrows_fit_into_the_picture_and_do_not_overlap(events, model):
    trace = trace_of(events, model)
    timeline = build_timeline(trace)
    steps, lanes = len(timeline.events), len(timeline.lanes)
    taken = set()
    for span in timeline.spans:
        assert 0 <= span.first <= span.last < steps
        cells = {(span.lane, step) for step in range(span.first, span.last + 1)}
        assert not cells & taken
        taken |= cells
    for arrow in timeline.arrows:
        assert 0 <= arrow.step < steps
        assert arrow.start != arrow.end
    assert all(0 <= end < lanes for arrow in timeline.arrows for end in arrow[1:])
    assert all(0 <= span.lane < lanes for span in timeline.spans)
    # Each thread has a lane, and a bar wherever it has an event.
    lane_of = {lane.thread: number for number, lane in enumerate(timeline.lanes) if lane.thread}
    assert all((lane_of[event.thread], step) in taken for step, event in enumerate(timeline.events))
    highest = len(WORKFLOWS.get(model, ()))
    numbers = book_steps(trace)
    assert len(numbers) == steps
    assert all(0 <= number <= highest for number in numbers)


@given(EVENTS)
def test_telling_the_waiting_keeps_the_order_and_every_event_in_time(events):
    told = tell_waiting(events, RESTS, 20.0)
    assert [event.at for event in told] == sorted(event.at for event in told)
    ends = [event for event in told if not event.is_begin]
    waits = {
        Activity.WAIT,
        Activity.TAKE,
        Activity.ACCEPT,
        Activity.READ,
        Activity.WRITE,
        Activity.SEND_FILE,
    }
    others = [event for event in events if event.activity not in waits and event.at <= 20.0]
    assert sorted(map(str, others)) == sorted(
        str(event) for event in ends if event.activity not in waits
    )


@given(st.lists(st.sampled_from("abc")), st.sampled_from([(10,), (10, 11)]))
def test_merging_repeats_loses_nothing(letters, threads):
    events = [
        TraceEvent(float(at), threads[at % len(threads)], Phrase(letter), Activity.ASK)
        for at, letter in enumerate(letters)
    ]
    merged = list(merge_repeats(events))
    assert sum(event.times for event in merged) == len(events)
    for letter in "abc":
        count = sum(event.times for event in merged if str(event.phrase) == letter)
        assert count == letters.count(letter)


def test_one_round_of_asking_every_socket_is_told_once():
    events = [
        TraceEvent(float(at), 10, Phrase("ab"[at % 2]), Activity.ASK) for at in range(2 * 500)
    ]
    assert [event.text for event in merge_repeats(events)] == ["a (500 times)", "b (500 times)"]


def wait(started_at, at, thread=10, text="wakes up"):
    call = "epoll_wait(4, [], 64, 1000) = 0"
    return TraceEvent(at, thread, Phrase(text), Activity.WAIT, started_at, at, call)


def client(at, activity, peer=5_000):
    return TraceEvent(at, -1, Phrase("x"), activity, at, at, peer=peer)


def test_a_wait_that_times_out_goes_on_in_the_next_one():
    events = [wait(0.0, 2.0, text=""), client(3.0, Activity.SEND), wait(2.5, 4.0)]
    begin, _, end = tell_waiting(events, [], 9.0)
    assert (begin.text, begin.at) == ("waits in epoll_wait", 3.0)  # what was before is not shown
    assert end.text == "wakes up"


def test_a_thread_that_waits_all_the_time_is_not_shown():
    events = [client(3.0, Activity.SEND), wait(1.0, float("inf"), thread=11, text="")]
    assert [event.thread for event in tell_waiting(events, [], 9.0)] == [-1]


@pytest.mark.parametrize(("rested_at", "begins"), [(3.0, 1), (1.0, 0), (5.0, 0)])
@pytest.mark.parametrize("activity", [Activity.ACCEPT, Activity.READ])
def test_a_call_has_waited_only_if_the_server_rested_meanwhile(activity, rested_at, begins):
    call = TraceEvent(4.0, 10, Phrase("x"), activity, 2.0, 4.0, "recvfrom(5) = 9", peer=5_000)
    events = [client(0.5, Activity.CONNECT), client(3.5, Activity.SEND), call]
    assert sum(event.is_begin for event in tell_waiting(events, [rested_at], 9.0)) == begins


def test_a_write_waits_for_the_client_to_read_on():
    write = TraceEvent(2.0, 10, Phrase("w"), Activity.WRITE, 2.0, 4.0, "sendto() = 9", peer=5_000)
    events = [client(1.0, Activity.PAUSE), write, client(3.0, Activity.RESUME)]
    told = tell_waiting(events, [2.5], 9.0)
    assert [event.at for event in told] == [1.0, 2.0, 3.0, 4.0]
    assert "for space" in told[1].text


def test_a_call_that_is_interrupted_when_the_trace_has_ended_is_no_part_of_it():
    accept = TraceEvent(9.5, 10, Phrase("no"), Activity.ACCEPT, 4.0, 9.5, "accept4(3) = -1 EINTR")
    told = tell_waiting([client(3.0, Activity.CONNECT), accept], [5.0], 9.0)
    assert [event.text for event in told] == ["x", "waits in accept4 until a client connects"]


def test_what_strace_dates_too_early_comes_after_its_cause(tmp_path):
    strace = [
        "10 8.0 epoll_wait(4, [{events=EPOLLIN, data={u32=3}}], 64, -1) = 1 <1.99>",
        "10 9.991 accept4(3<TCP:[1.1.1.1:80]>, 0x1) = 9<TCP:[1.1.1.1:80->1.1.1.1:5000]> <0.001>",
        "10 10.5 accept4(3<TCP:[1.1.1.1:80]>, 0x1) = 8<TCP:[1.1.1.1:80->1.1.1.1:5001]> <0.001>",
    ]
    (tmp_path / "calls").write_text("\n".join(strace))
    (tmp_path / "marks").write_text("")
    clients = [client(10.0, Activity.CONNECT), client(10.505, Activity.CONNECT, peer=5_001)]
    events = collect(tmp_path, clients, [], 12.0, is_libuv=False).events
    assert [event.activity.name for event in events] == [
        "CONNECT", "WAIT", "ACCEPT", "CONNECT", "ACCEPT",
    ]  # fmt: skip


def test_one_wait_reports_two_connections_and_two_workers_take_them():
    def step(at, thread, activity, peer=0, key="q"):
        return TraceEvent(at, thread, Phrase("x"), activity, at, at, peer=peer, key=key)

    woken = replace(wait(0.0, 3.0), peer=5_001, key="5001 5000")
    events = [
        client(1.0, Activity.SEND), client(2.0, Activity.SEND, peer=5_001), woken,
        step(4.0, 10, Activity.PUT), step(5.0, 10, Activity.PUT),
        step(6.0, 11, Activity.TAKE), step(7.0, 12, Activity.TAKE),
        step(8.0, 12, Activity.READ, 5_000), step(9.0, 11, Activity.READ, 5_001),
    ]  # fmt: skip
    trace = trace_of(events)
    assert not any(event.times > 1 for event in trace.events)
    (end,) = steps_of(trace, "wakes up")
    assert set(bars_of(trace, "ready list")[1 : end + 1]) == {Bar.HELD}
    queue = bars_of(trace, "request queue")
    assert queue[end + 1 : end + 5] == [Bar.HELD] * 4
    assert book_steps(trace)[end:] == [3, 3, 3, 4, 4, 4, 4]


def test_completions_without_a_ring_show_none():
    phrase = Phrase("gets the completion of receive: {result}", {"result": 40})
    done = TraceEvent(2.0, 10, phrase, Activity.COMPLETE, 2.0, 2.0, peer=5_000)
    timeline = build_timeline(trace_of([client(1.0, Activity.SEND), done]))
    assert "ring" not in {str(lane.name) for lane in timeline.lanes}


@pytest.mark.parametrize("name", NAMES)
def test_every_stored_trace_ends_with_a_closed_connection(name):
    trace = stored(name)
    assert steps_of(trace, "receives 2")
    assert steps_of(trace, "closes the connection")
    assert Phase.MOVED in build_timeline(trace).phases


def test_blocking_waits_inside_recv_and_then_the_data_is_copied():
    trace = stored("blocking")
    begins = steps_of(trace, "waits in recvfrom")
    reads = steps_of(trace, "reads 40 bytes")
    assert len(reads) == 2  # a thread for each of two clients
    threads = {trace.events[step].thread for step in reads}
    assert len(threads) == 2
    for read in reads:
        begin = max(
            step for step in begins if trace.events[step].thread == trace.events[read].thread
            and step < read
        )  # fmt: skip
        name = str(next(
            lane.name for lane in build_timeline(trace).lanes
            if lane.thread == trace.events[read].thread
        ))  # fmt: skip
        bars = bars_of(trace, name)
        assert bars[read] is Bar.COPY
        assert set(bars[begin:read]) == {Bar.WAIT}
    assert {str(lane.name) for lane in build_timeline(trace).lanes} >= {"client 1", "client 2"}


def test_epoll_lists_what_is_ready_until_epoll_wait_returns_it():
    trace = stored("epoll")
    (sent,) = steps_of(trace, "sends 40 bytes")
    woken = min(step for step in steps_of(trace, "wakes up") if step > sent)
    assert set(bars_of(trace, "ready list")[sent : woken + 1]) == {Bar.HELD}
    assert bars_of(trace, "main thread")[sent] is Bar.WAIT
    (read,) = steps_of(trace, "reads 40 bytes")
    assert set(bars_of(trace, "socket buffers")[sent : read + 1]) == {Bar.HELD}
    assert ("reads 40 bytes", "socket buffers", "main thread") in arrows_of(trace)
    assert not any("removes" in event.text for event in trace.events)  # the kernel does it


def test_signals_wait_in_their_queue():
    trace = stored("signal-driven")
    (sent,) = steps_of(trace, "sends 40 bytes")
    read = min(step for step in steps_of(trace, "reads signals") if step > sent)
    assert set(bars_of(trace, "signal queue")[sent : read + 1]) == {Bar.HELD}
    assert steps_of(trace, "switches the signals of the connection on: O_ASYNC")


def test_the_ring_waits_and_copies_while_the_thread_does_neither():
    trace = stored("proactor")
    bars = bars_of(trace, "ring")
    (sent,) = steps_of(trace, "sends 40 bytes")
    (done,) = steps_of(trace, "gets the completion of receive: 40")
    queued = max(step for step in steps_of(trace, "queues a receive") if step < sent)
    assert set(bars[queued:sent]) == {Bar.WAIT}
    assert set(bars[sent : done + 1]) == {Bar.COPY}
    assert Bar.COPY not in bars_of(trace, "main thread")
    (accepted,) = steps_of(trace, "gets the completion of accept")
    assert Bar.COPY not in bars[: accepted + 1]
    assert bars[accepted] is Bar.HELD
    assert ("gets the completion of receive: 40", "ring", "main thread") in arrows_of(trace)


def test_completions_of_posix_aio_are_of_no_ring_and_its_threads_have_names_of_their_own():
    done = Phrase("gets the completion of receive: {result}", {"result": "40"})
    events = [
        TraceEvent(1.0, thread, text, activity, started_at=1.0, ended_at=1.0, peer=5_000)
        for thread, text, activity in (
            (20, Phrase("reads {count:,} bytes", {"count": 40}), Activity.READ),
            (21, Phrase("reads {count:,} bytes", {"count": 40}), Activity.READ),
            (11, done, Activity.COMPLETE),
        )
    ]
    lanes = build_timeline(trace_of(events, "proactor-aio")).lanes
    assert [str(lane.name) for lane in lanes] == ["libc thread 1", "libc thread 2", "worker-0"]


def test_the_reactor_hands_over_through_the_queue_step_by_step():
    trace = stored("reactor")
    arrows = arrows_of(trace)
    assert ("puts the job into the queue of the pool", "main thread", "request queue") in arrows
    takers = {end for text, start, end in arrows if text.startswith("takes the job")}
    assert len(takers) >= 2  # one worker reads, and another one writes
    numbers = book_steps(trace)
    numbered = [number for number in numbers if number]
    order = [1, 3, 4, 6, 7]
    found = iter(numbered)
    assert all(number in found for number in order), numbered
    of_step = {
        number: {trace.events[step].text for step, one in enumerate(numbers) if one == number}
        for number in order
    }
    assert any("EPOLLOUT" in text for text in of_step[4])
    assert any("EPOLLOUT" in text for text in of_step[6])
    assert any(text.startswith("writes") for text in of_step[7])
    # The main thread moves no byte.
    assert Bar.COPY not in bars_of(trace, "main thread")


def test_a_wait_has_the_number_of_what_it_waited_for():
    trace = stored("reactor")
    numbers = book_steps(trace)
    main = next(thread for thread, name in trace.threads.items() if name == "MainThread")
    waits = [
        (number, event.is_begin)
        for number, event in zip(numbers, trace.events, strict=True)
        if event.thread == main and event.activity is Activity.WAIT
    ]
    pairs = [
        (begin, end)
        for (begin, begins), (end, continues) in pairwise(waits)
        if begins and not continues
    ]
    assert set(pairs) == {(1, 1), (2, 3), (5, 6)}


def test_the_proactor_takes_the_steps_of_the_book():
    trace = stored("proactor")
    found = iter(book_steps(trace))
    assert all(number in found for number in (1, 2, 3, 4, 6, 7))


@pytest.mark.parametrize("name", NAMES)
def test_a_source_line_is_one_of_this_package(name):
    sources = {event.source for event in stored(name).events if event.source}
    assert sources
    assert all(source.startswith("aserve/") and ":" in source for source in sources)


def test_the_picture_does_not_depend_on_the_time_that_passed():
    trace = stored("epoll")
    slower = replace(trace, events=tuple(replace(e, at=e.at * 9) for e in trace.events))
    fast, slow = build_timeline(trace), build_timeline(slower)
    assert (fast.spans, fast.arrows, fast.phases) == (slow.spans, slow.arrows, slow.phases)


def test_a_thread_of_the_c_library_computes_nothing_between_its_calls():
    events = [
        client(1.0, Activity.SEND),
        TraceEvent(2.0, 99, Phrase("reads {count:,} bytes", {"count": 9}), Activity.READ),
        TraceEvent(3.0, 10, Phrase("x"), Activity.COMPUTE),
        TraceEvent(4.0, 99, Phrase("x"), Activity.WAKE),
        TraceEvent(5.0, 10, Phrase("x"), Activity.COMPUTE),
    ]
    trace = trace_of(events, "proactor-aio")
    assert bars_of(trace, "a thread of libc") == [None, Bar.COPY, None, Bar.CALL, None]
    assert bars_of(trace, "main thread") == [None, None, Bar.COMPUTE, Bar.COMPUTE, Bar.COMPUTE]


@pytest.mark.parametrize(("has_ring", "phase"), [(True, Phase.MOVED), (False, Phase.NONE)])
def test_a_completion_moves_data_only_if_a_ring_does(has_ring, phase):
    template = "gets the completion of read: {result}"
    completion = TraceEvent(2.0, 10, Phrase(template, VALUES), Activity.COMPLETE)
    submit = TraceEvent(1.0, 10, Phrase("queues a read of the file on the ring"), Activity.SUBMIT)
    timeline = build_timeline(trace_of([*([submit] if has_ring else []), completion]))
    assert timeline.phases[-1] is phase
    assert any(lane.key == "cache" for lane in timeline.lanes) == has_ring

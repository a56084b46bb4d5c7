"""The finite state machine of one connection, as a table."""

import enum
from collections.abc import Mapping


class State(enum.IntEnum):
    """The state of one connection."""

    IDLE = enum.auto()
    """Waiting: no byte of the next request has arrived."""
    HEAD = enum.auto()
    """Part of a request's head has arrived."""
    BODY = enum.auto()
    """The head is complete and the request body is arriving."""
    HANDLING = enum.auto()
    """A request has been handed out and its response is being prepared."""
    SENDING = enum.auto()
    """The response is being sent."""
    TAKEN_OVER = enum.auto()
    """The bytes are no longer HTTP's, as in a tunnel (RFC 9110 section 9.3.6)."""
    LINGERING = enum.auto()
    """The last response has been sent; further input is discarded (RFC 9112 section 9.6)."""
    CLOSED = enum.auto()
    """Nothing more will be received or sent."""


class Event(enum.IntEnum):
    """What changes the state of a connection."""

    HEAD_BEGUN = enum.auto()
    HEAD_ENDED = enum.auto()
    """The request has no body, or none that will be read."""
    BODY_ANNOUNCED = enum.auto()
    BODY_ENDED = enum.auto()
    REJECTED = enum.auto()
    """The message is invalid or late, or its response failed before any of it was sent. The
    response is an error, and the last on this connection."""
    RESPONSE_STARTED = enum.auto()
    """A response is ready. In IDLE it is a cached one, for a request that need not be parsed."""
    KEPT_ALIVE = enum.auto()
    """The response has been sent and the connection stays open."""
    CLOSED_CLEANLY = enum.auto()
    """The response has been sent, the connection closes, and no unread input can be in flight."""
    CLOSED_EARLY = enum.auto()
    """The response has been sent, and the connection closes while the client may still send."""
    TAKEN_OVER = enum.auto()
    """The head has been sent, and what follows is not the server's business."""
    ENDED = enum.auto()
    """The client has closed its side, or has lingered too long, or has disconnected."""


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.IDLE, Event.HEAD_BEGUN): State.HEAD,
    (State.IDLE, Event.REJECTED): State.HANDLING,
    (State.IDLE, Event.RESPONSE_STARTED): State.SENDING,
    (State.IDLE, Event.ENDED): State.CLOSED,
    (State.HEAD, Event.HEAD_ENDED): State.HANDLING,
    (State.HEAD, Event.BODY_ANNOUNCED): State.BODY,
    (State.HEAD, Event.REJECTED): State.HANDLING,
    (State.HEAD, Event.ENDED): State.CLOSED,
    (State.BODY, Event.BODY_ENDED): State.HANDLING,
    (State.BODY, Event.REJECTED): State.HANDLING,
    (State.BODY, Event.ENDED): State.CLOSED,
    (State.HANDLING, Event.RESPONSE_STARTED): State.SENDING,
    (State.HANDLING, Event.REJECTED): State.HANDLING,
    (State.HANDLING, Event.ENDED): State.CLOSED,
    (State.SENDING, Event.KEPT_ALIVE): State.IDLE,
    (State.SENDING, Event.CLOSED_CLEANLY): State.CLOSED,
    (State.SENDING, Event.CLOSED_EARLY): State.LINGERING,
    (State.SENDING, Event.TAKEN_OVER): State.TAKEN_OVER,
    (State.SENDING, Event.REJECTED): State.HANDLING,
    (State.SENDING, Event.ENDED): State.CLOSED,
    (State.TAKEN_OVER, Event.ENDED): State.CLOSED,
    (State.LINGERING, Event.ENDED): State.CLOSED,
    (State.CLOSED, Event.ENDED): State.CLOSED,
}
"""Every transition. A missing pair is a programming error: KeyError."""

"""The finite state machine of one connection, as a table."""

import enum
from collections.abc import Mapping


class State(enum.IntEnum):
    """Where a connection's conversation stands."""

    IDLE = enum.auto()
    """Nothing of the next request has arrived."""
    HEAD = enum.auto()
    """Some of a request's head has arrived."""
    BODY = enum.auto()
    """The head is complete and its content is arriving."""
    HANDLING = enum.auto()
    """A request is out: its response is being worked out."""
    SENDING = enum.auto()
    """The response is leaving."""
    TUNNEL = enum.auto()
    """What arrives is for somebody else (RFC 9110 section 9.3.6)."""
    LINGERING = enum.auto()
    """The last response has left and what still arrives is thrown away (RFC 9112 section 9.6)."""
    CLOSED = enum.auto()
    """The end."""


class Event(enum.IntEnum):
    """What moves a conversation on."""

    HEAD_BEGUN = enum.auto()
    HEAD_ENDED = enum.auto()
    """The request has no content, or none that will be read."""
    CONTENT_ANNOUNCED = enum.auto()
    CONTENT_ENDED = enum.auto()
    REJECTED = enum.auto()
    """The message is at fault, or late, or its response failed before any of it was sent: the
    answer is an error and the connection's last."""
    RESPONSE_STARTED = enum.auto()
    """The response is there: in IDLE one that is known, to a request that need not be read."""
    KEPT_ALIVE = enum.auto()
    """The response has left and the connection persists."""
    CLOSED_CLEANLY = enum.auto()
    """The response has left, the connection ends, and nothing unread can be on its way."""
    CLOSED_EARLY = enum.auto()
    """The response has left and the connection ends before the client had its say."""
    TUNNEL_STARTED = enum.auto()
    """The response has left and the connection now is a tunnel."""
    ENDED = enum.auto()
    """The client has sent all it will, or has lingered too long, or is gone."""


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.IDLE, Event.HEAD_BEGUN): State.HEAD,
    (State.IDLE, Event.REJECTED): State.HANDLING,
    (State.IDLE, Event.RESPONSE_STARTED): State.SENDING,
    (State.IDLE, Event.ENDED): State.CLOSED,
    (State.HEAD, Event.HEAD_ENDED): State.HANDLING,
    (State.HEAD, Event.CONTENT_ANNOUNCED): State.BODY,
    (State.HEAD, Event.REJECTED): State.HANDLING,
    (State.HEAD, Event.ENDED): State.CLOSED,
    (State.BODY, Event.CONTENT_ENDED): State.HANDLING,
    (State.BODY, Event.REJECTED): State.HANDLING,
    (State.BODY, Event.ENDED): State.CLOSED,
    (State.HANDLING, Event.RESPONSE_STARTED): State.SENDING,
    (State.HANDLING, Event.REJECTED): State.HANDLING,
    (State.HANDLING, Event.ENDED): State.CLOSED,
    (State.SENDING, Event.KEPT_ALIVE): State.IDLE,
    (State.SENDING, Event.CLOSED_CLEANLY): State.CLOSED,
    (State.SENDING, Event.CLOSED_EARLY): State.LINGERING,
    (State.SENDING, Event.TUNNEL_STARTED): State.TUNNEL,
    (State.SENDING, Event.REJECTED): State.HANDLING,
    (State.SENDING, Event.ENDED): State.CLOSED,
    (State.TUNNEL, Event.ENDED): State.CLOSED,
    (State.LINGERING, Event.ENDED): State.CLOSED,
    (State.CLOSED, Event.ENDED): State.CLOSED,
}
"""Every step a conversation can take. A pair that is missing is a programming error: KeyError."""

"""How long one connection is served before the others have their turn."""

MAX_REQUESTS_PER_TURN = 16
"""Requests handled, or writes of cached responses, for one connection in a turn."""

MAX_TURN_S = 0.001
"""Seconds after which a turn ends, once the current request is handled.

A number of requests alone is no bound: a request may be as large as the limits allow, and a disk
or a processor slow. 16 requests with long targets took 250 ms once, and 1,024 cached responses
33 ms. Where a response takes four completions, as in a proactor, others wait for as many turns.
"""

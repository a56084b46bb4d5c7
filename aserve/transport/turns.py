"""How long one connection is served before the others are looked at."""

MAX_TURN_S = 0.001
"""Seconds, after which a turn ends with the request that is being answered.

A count alone is no bound: a head may be as long as its limits allow, and a disk or a processor
slow. 16 requests with long targets took 250 ms once, and 1,024 remembered responses 33 ms. Where
a response takes four completions, as in a proactor, others wait for as many turns.
"""

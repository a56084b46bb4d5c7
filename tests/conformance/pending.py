"""Rows that aserve does not hold yet, each with the capability that is missing.

They are expected to fail, strictly: who builds the capability removes its lines here.
"""

from collections.abc import Mapping

PENDING: Mapping[str, str] = {}

CUTS: Mapping[str, str] = {}
"""Rows whose answer depends on how their octets arrive."""

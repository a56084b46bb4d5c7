"""Rows that aserve does not pass yet, each with the missing capability.

They are expected to fail, strictly: the change that adds the capability removes its lines here.
"""

from collections.abc import Mapping

PENDING: Mapping[str, str] = {}

SPLIT_DEPENDENT: Mapping[str, str] = {}
"""Rows whose response depends on how their bytes arrive."""

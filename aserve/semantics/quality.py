"""Quality values: what a client would rather have (RFC 9110 section 12.4.2)."""

import re

_QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def weights(field: str) -> dict[str, float]:
    """Return what an Accept or Accept-Encoding field names, in lower case, with its weight.

    An element that is malformed is passed over. Parameters other than q are too.
    """
    weighted: dict[str, float] = {}
    for element in field.lower().split(","):
        name, *parameters = (part.strip(" \t") for part in element.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        if name and _QVALUE.fullmatch(quality):
            weighted[name] = float(quality)
    return weighted

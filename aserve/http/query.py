"""The query of a target, as HTML forms make it."""

from urllib.parse import parse_qsl

from aserve.http.messages import HttpError

_MAX_PARAMETERS = 1_000


def parse_parameters(query: str) -> dict[str, list[str]]:
    """Return the values of each parameter in a query ("?...", or ""), in their order.

    Bytes that are no UTF-8 are surrogates, as os.fsencode reads them. Raises HttpError 400 for too
    many parameters.
    """
    values: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(
            query.removeprefix("?"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:
        raise HttpError(400, "The query has too many parameters.") from None
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values

"""The Server header (RFC 9110 section 10.2.4)."""

from aserve.policies.policy import Policy


class ServerHeader(Policy):
    """Names the software in every response, without a version."""

    response_headers = (("Server", "aserve"),)

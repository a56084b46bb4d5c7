"""A policy of a page, changed so that one more script may run."""

import pytest

from aserve.http.content_security_policy import allow_script


@pytest.mark.parametrize(
    ("policy", "changed"),
    [
        # What restricts neither scripts nor connections stays as it is.
        ("", ""),
        ("frame-ancestors 'none'", "frame-ancestors 'none'"),
        ("img-src https:; upgrade-insecure-requests", "img-src https:; upgrade-insecure-requests"),
        # 'none' stands alone, and default-src also applies to images and fonts.
        (
            "default-src 'none'",
            "default-src 'none'; script-src-elem 'nonce-N'; worker-src 'self'; connect-src 'self'",
        ),
        (
            "default-src 'self'; script-src 'self' cdn.example",
            "default-src 'self'; script-src 'self' cdn.example 'nonce-N'",
        ),
        ("SCRIPT-SRC 'None'", "script-src 'nonce-N'; worker-src 'self'"),
        (
            "script-src-elem a.test; script-src b.test",
            "script-src-elem a.test 'nonce-N'; script-src b.test; worker-src b.test 'self'",
        ),
        ("connect-src https:", "connect-src https: 'self'"),
        ("worker-src blob:", "worker-src blob: 'self'"),
        # The first directive of a name counts.
        ("script-src 'self'; script-src a.example", "script-src 'self' 'nonce-N'"),
        # A nonce would forbid all other inline scripts.
        (
            "script-src 'unsafe-inline'",
            "script-src 'unsafe-inline' 'self'; worker-src 'unsafe-inline' 'self'",
        ),
        ("script-src 'unsafe-inline' 'self'", "script-src 'unsafe-inline' 'self'"),
        (
            "script-src 'unsafe-inline' 'nonce-a' 'self'",
            "script-src 'unsafe-inline' 'nonce-a' 'self' 'nonce-N'",
        ),
        (
            "script-src 'sha256-aa=' 'strict-dynamic' 'self'",
            "script-src 'sha256-aa=' 'strict-dynamic' 'self' 'nonce-N'",
        ),
        # Each of several policies must allow it.
        (
            "connect-src a.example, connect-src b.example",
            "connect-src a.example 'self', connect-src b.example 'self'",
        ),
    ],
)
def test_a_policy_allows_one_more_script(policy: str, changed: str) -> None:
    assert allow_script(policy, "N") == changed

"""A page's Content-Security-Policy, changed so that one more script may run (CSP level 3)."""

_SCRIPTS = ("script-src-elem", "script-src", "default-src")
_WORKERS = ("worker-src", "child-src", "script-src", "default-src")
_CONNECTIONS = ("connect-src", "default-src")


def allow_script(header: str, nonce: str) -> str:
    """Return a header's value that also allows a script with a nonce, and what that needs.

    That is a worker and connections of its own origin. header: one policy or several, with commas
    between them, of which each must allow it.
    """
    return ", ".join(_allow_in_policy(policy, nonce) for policy in header.split(","))


def _allow_in_policy(policy: str, nonce: str) -> str:
    directives: dict[str, list[str]] = {}
    for text in policy.split(";"):
        if words := text.split():
            directives.setdefault(words[0].lower(), words[1:])  # the first of a name counts
    original = dict(directives)
    scripts = next((original[name] for name in _SCRIPTS if name in original), [])
    # A nonce would switch off inline scripts that the page is allowed to have (section 6.7.3.2).
    source = "'self'" if _allows_inline(scripts) else f"'nonce-{nonce}'"
    for names, added in ((_SCRIPTS, source), (_WORKERS, "'self'"), (_CONNECTIONS, "'self'")):
        _allow(directives, original, names, added)
    return "; ".join(" ".join((name, *sources)) for name, sources in directives.items())


def _allow(
    directives: dict[str, list[str]],
    original: dict[str, list[str]],
    names: tuple[str, ...],
    added: str,
) -> None:
    """Add a source to the first directive of these that is there; default-src itself is kept."""
    found = next((name for name in names if name in original), None)
    if found is None:
        return
    sources = [source for source in original[found] if source.lower() != "'none'"]
    if added not in sources:
        target = found if found in {names[0], "script-src"} and names is _SCRIPTS else names[0]
        directives[target] = [*sources, added]


def _allows_inline(sources: list[str]) -> bool:
    lower = [source.lower() for source in sources]
    strict = ("'nonce-", "'sha256-", "'sha384-", "'sha512-", "'strict-dynamic'")
    return "'unsafe-inline'" in lower and not any(source.startswith(strict) for source in lower)

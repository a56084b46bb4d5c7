"""The commands besides serving, by their names. Each is imported only where it is meant."""

from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "check": "print the configuration, what is risky in it, and what a URL leads to",
    "compress": "write compressed siblings of a site's files",
    "explain": "show what happens for one request",
    "passwd": "make a line of a password file",
    "share": "make a link to one file or folder, which ends",
    "reload": "have a running server read its configuration anew",
    "trust": "have browsers of this machine accept the certificate of --https",
}
"""The names of modules in aserve/cli, and what users can do with them."""

COMPLETION_VARIABLE = "_ASERVE_COMPLETE"
"""The environment variable by which a shell asks for completions instead of a run."""

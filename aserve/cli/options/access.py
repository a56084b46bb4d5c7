"""Options about who may do what: writing, logins, addresses."""

from typing import Annotated, TypedDict

from aserve.cli import completion
from aserve.cli.declarations import declare, declare_flag
from aserve.cli.options.defaults import DEFAULTS, default

_WRITING = "Writing"
_ACCESS = "Access"


class AccessOptions(TypedDict, total=False):
    """The options, as text, by the names of settings."""

    write: Annotated[
        list[str],
        declare(
            _WRITING,
            "--write",
            value="[=PATH]",
            text="Let clients change files, there; see below.",
            autocompletion=completion.write_areas,
        ),
    ]
    on_conflict: Annotated[
        str,
        declare(
            _WRITING,
            "--on-conflict",
            value="NAME",
            text="error, replace or rename a file.",
            show_default=default("on_conflict"),
            autocompletion=completion.conflicts,
        ),
    ]
    max_upload: Annotated[
        str,
        declare(
            _WRITING,
            "--max-upload",
            value="SIZE",
            text="Most bytes of an upload.",
            show_default="unlimited",
        ),
    ]
    quota: Annotated[
        str,
        declare(
            _WRITING,
            "--quota",
            value="SIZE",
            text="Most bytes of all files.",
            show_default="unlimited",
        ),
    ]
    min_free: Annotated[
        str,
        declare(
            _WRITING,
            "--min-free",
            value="SIZE",
            text="Bytes of the disk that stay free.",
            show_default=f"{DEFAULTS['min_free'] >> 20}M",
        ),
    ]
    fsync: Annotated[
        bool,
        declare_flag(_WRITING, "--no-fsync", text="Do not wait until uploads are on the disk."),
    ]
    auth: Annotated[
        list[str],
        declare(
            _ACCESS,
            "--auth",
            value="USER:PASSWORD",
            text="Ask for a login; repeatable.",
        ),
    ]
    htpasswd: Annotated[
        str,
        declare(
            _ACCESS,
            "--htpasswd",
            value="FILE",
            text="Logins; see aserve passwd.",
        ),
    ]
    groups: Annotated[
        list[str],
        declare(
            _ACCESS,
            "--groups",
            value="NAME=USERS",
            text="Users who are @NAME; repeatable.",
        ),
    ]
    readers: Annotated[
        str,
        declare(
            _ACCESS,
            "--readers",
            value="LIST",
            text="Who may read; see below.",
            autocompletion=completion.groups,
        ),
    ]
    writers: Annotated[
        str,
        declare(
            _ACCESS,
            "--writers",
            value="LIST",
            text="Who may change files.",
            autocompletion=completion.groups,
        ),
    ]
    allow: Annotated[
        list[str],
        declare(
            _ACCESS,
            "--allow",
            value="NETWORK",
            text="Serve no other clients; repeatable.",
            autocompletion=completion.networks,
        ),
    ]
    deny: Annotated[
        list[str],
        declare(
            _ACCESS,
            "--deny",
            value="NETWORK",
            text="Do not serve these; repeatable.",
            autocompletion=completion.networks,
        ),
    ]
    proxy_trust: Annotated[
        list[str],
        declare(
            _ACCESS,
            "--proxy-trust",
            value="NETWORK",
            text="Proxies that say who asks; repeatable.",
            autocompletion=completion.proxies,
        ),
    ]
    proxy_protocol: Annotated[
        bool,
        declare_flag(_ACCESS, "--proxy-protocol", text="They do, in PROXY headers."),
    ]
    rate: Annotated[
        str,
        declare(
            _ACCESS,
            "--rate",
            value="N/s|N/m|N/h[:BURST]",
            text="Requests of each client; more: 429.",
            show_default="off",
            autocompletion=completion.rates,
        ),
    ]
    bandwidth: Annotated[
        str,
        declare(
            _ACCESS,
            "--bandwidth",
            value="SIZE|off",
            text="Bytes a second, per connection.",
            show_default="off",
            autocompletion=completion.bandwidths,
        ),
    ]
    share: Annotated[
        str,
        declare(
            _ACCESS,
            "--share",
            value="[=FILE]",
            text="Answer links of aserve share.",
            autocompletion=completion.shares,
        ),
    ]

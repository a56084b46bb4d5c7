"""Options about where the server listens, and TLS."""

from typing import Annotated, TypedDict

from aserve.cli import completion
from aserve.cli.declarations import declare, declare_flag
from aserve.cli.options.defaults import default
from aserve.config.processes import DEFAULT_PORT

ADDRESS = "Address"
_TLS = "HTTPS"


class AddressOptions(TypedDict, total=False):
    """The options, as text, by the names of settings."""

    host: Annotated[
        str,
        declare(
            ADDRESS,
            "--host",
            value="ADDRESS",
            text="'*' for all, unix:PATH.",
            show_default=default("host"),
            autocompletion=completion.hosts,
        ),
    ]
    allowed_hosts: Annotated[
        str,
        declare(
            ADDRESS,
            "--allowed-hosts",
            value="LIST",
            text="Host names; any, local.",
            show_default="see below",
            autocompletion=completion.allowed_hosts,
        ),
    ]
    port: Annotated[
        str,
        declare(
            ADDRESS,
            "--port",
            "-p",
            value="N",
            text="0 for any free port.",
            show_default=f"{DEFAULT_PORT} or next free",
        ),
    ]
    https: Annotated[
        bool, declare_flag(_TLS, "--https", text="TLS with a certificate for this machine.")
    ]
    share_ca: Annotated[
        bool, declare_flag(_TLS, "--share-ca", text="Send its authority to phones; see --lan.")
    ]
    cert: Annotated[
        list[str],
        declare(
            _TLS,
            "--cert",
            value="FILE",
            text="TLS with this certificate, PEM; repeatable.",
        ),
    ]
    key: Annotated[
        list[str],
        declare(_TLS, "--key", value="FILE", text="Its key, if it is in another file."),
    ]
    http_redirect: Annotated[
        str,
        declare(_TLS, "--http-redirect", value="PORT", text="Lead http there to https, as on 80."),
    ]
    hsts: Annotated[
        str,
        declare(
            _TLS,
            "--hsts",
            value="SECONDS",
            text="Have browsers use https alone.",
            show_default="off",
        ),
    ]

"""The command `aserve trust`: programs of this machine trust what --https has issued."""

from collections.abc import Mapping
from importlib.util import find_spec
from shlex import quote
from typing import Annotated

from aserve.cli.declarations import declare
from aserve.cli.exit_codes import FAILED, OK
from aserve.cli.help import Rows
from aserve.cli.messages import print_message
from aserve.config.settings import SettingsError
from aserve.config.tls import NO_CRYPTOGRAPHY
from aserve.server.certificates import local_authority

SECTIONS: Mapping[str, Rows] = {
    "Examples": (
        ("aserve trust", "# browsers of this machine accept --https"),
        ("aserve trust --remove", "# as it was before"),
        ("sudo -E aserve trust", "# with the right to change the system"),
    )
}

Remove = Annotated[
    bool, declare("Trust", "--remove", text="Take the authority out of all stores again.")
]


def trust(remove: Remove = False) -> int:
    """Have this machine's programs trust the local authority of --https, which is made if need be.

    What is done is printed. Exit code 1 if anything is left to do, with the command that does it.
    """
    if not find_spec("cryptography"):
        raise SettingsError("trust", NO_CRYPTOGRAPHY)
    # Only here: cryptography is an extra.
    from aserve.tls.authority import fingerprint, utc_now  # noqa: PLC0415
    from aserve.tls.trust import Trust  # noqa: PLC0415

    authority = local_authority()
    if remove and not authority.certificate_file.exists():
        print(f"there is no authority: {authority.certificate_file} does not exist")
        return OK
    try:
        certificate, _ = authority.prepare(utc_now())
    except OSError as error:
        print_message(f"error: {authority.certificate_file}: {error.strerror}")
        return FAILED
    except ValueError as error:
        print_message(f"error: the local authority is damaged: {error}")
        return FAILED
    print(f"authority: {authority.certificate_file}")
    print(f"SHA-256:   {fingerprint(certificate)}")
    stores = Trust(authority.certificate_file, _identifier(fingerprint(certificate)))
    is_done = True
    for outcome in stores.remove() if remove else stores.add():
        print(outcome.text)
        is_done = is_done and outcome.is_done
    if remove and is_done:
        print(f"its files are still there: rm -r {quote(str(authority.certificate_file.parent))}")
    return OK if is_done else FAILED


def _identifier(sha256: str) -> str:
    return sha256.replace(":", "")[:16].lower()

"""What a service manager such as systemd is told: sd_notify(3), by a datagram for each message."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

_TIMEOUT_S = 5.0  # while its queue is full


class ServiceManager:
    """The service manager that has started this process.

    address: of its socket, as NOTIFY_SOCKET has it. watchdog: in how many seconds it must be told
    again that all is well, 0 for never.
    """

    def __init__(self, address: str, watchdog: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog = watchdog
        """In how many seconds it must be told again that all is well, 0 for never."""

    def notify(self, **values: object) -> None:
        """Send assignments, as READY=1. What it does not hear is not said again."""
        message = "\n".join(f"{name}={_one_line(value)}" for name, value in values.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_TIMEOUT_S)
            sender.sendto(message.encode(errors="replace"), self._address)


def _one_line(value: object) -> str:
    return " ".join(str(value).splitlines())


def find_service_manager(environment: Mapping[str, str] = os.environ) -> ServiceManager | None:
    """Return the service manager that wants to be told of this process, None for none.

    The variables stay: an upgrade in place starts a program in this process that needs them. Of
    the others that this one starts, a worker has the same manager, and speaks to it through us.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in {"/", "@"}:
        return None
    is_watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    microseconds = environment.get("WATCHDOG_USEC", "") if is_watched else ""
    is_number = microseconds.isdecimal() and microseconds.isascii()
    return ServiceManager(address, int(microseconds) / 1e6 if is_number else 0.0)

"""The configuration of a program that serves: read anew in a reload, with the log that it names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from aserve.cli.access_log_option import LogOption, OpenedLog
from aserve.config.configuration import Configuration, named_by, read_configuration
from aserve.config.settings import Settings

if TYPE_CHECKING:
    from aserve.cli.options import CommandOptions


class _Log(NamedTuple):
    option: LogOption
    opened: OpenedLog | None


class CurrentConfiguration:
    """What the command line, the environment and a file say, now and at each reload.

    first: as it was at the start. The access log is opened; raises SettingsError if it cannot be.
    """

    def __init__(
        self, first: Configuration, paths: Sequence[str], options: "CommandOptions"
    ) -> None:
        self._paths, self._options = paths, options
        option = LogOption(first.access_log, first.quiet)
        self._log = _Log(option, option.open(is_shared=first.settings.workers > 1))
        self._next: _Log | None = None

    @property
    def log(self) -> OpenedLog | None:
        """Where a process that is started now writes its access log, None for no log."""
        return (self._next or self._log).opened

    def read(self) -> Settings:
        """Return the settings as they are now, and open the log if it is another one.

        Raises SettingsError.
        """
        configuration = read_configuration(self._paths, self._options)
        option = LogOption(configuration.access_log, configuration.quiet)
        if option != self._log.option:
            with named_by(configuration.sources):
                self._next = _Log(option, option.open(is_shared=True))
        return configuration.settings

    @property
    def needs_processes(self) -> bool:
        """Whether the log is another one: a process keeps its own to its last response."""
        return self._next is not None

    def commit(self) -> None:
        """Note that the server follows what was read."""
        if self._next:
            _close(self._log)
            self._log, self._next = self._next, None

    def discard(self) -> None:
        """Release what was read: the server does not follow it."""
        if self._next:
            _close(self._next)
            self._next = None


def _close(log: _Log) -> None:
    if log.opened:
        log.opened.close()

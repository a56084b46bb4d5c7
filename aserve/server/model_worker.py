"""A worker whose model waits by itself, without an event loop."""

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self

from aserve.arguments import first_difference
from aserve.config.settings import Settings, SettingsError
from aserve.filesystem.mounts import Mounts
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.server.encoders import build_encoder
from aserve.server.proxy_protocol import build_proxy_protocol
from aserve.server.rates import Rates
from aserve.server.shared_settings import SharedSettings
from aserve.server.signals import block_in_all_threads
from aserve.server.site_factory import build_site
from aserve.server.stores import open_store
from aserve.server.writing import sweeper_of
from aserve.transport.observers import ReportRemaining, ResponseObserver

if TYPE_CHECKING:
    from aserve.compression.file_encoder import FileEncoder
    from aserve.shares.store import ShareStore


class _Owned(NamedTuple):
    """What a worker has made of settings, and closes when others take their place."""

    settings: Settings
    encoder: "FileEncoder | None"
    shares: "ShareStore | None"

    @classmethod
    def by(cls, settings: Settings) -> Self:
        return cls(settings, build_encoder(settings), open_store(settings))

    def build_site(self, rates: Rates) -> Site:
        return build_site(
            self.settings, Mounts(), encoder=self.encoder, rates=rates, shares=self.shares
        )

    def close(self) -> None:
        if self.encoder:
            self.encoder.close()
        if self.shares:
            self.shares.close()


class ModelWorker:
    """Serves a site with a model that runs in a thread and is controlled through descriptors."""

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        observer: ResponseObserver | None,
        report_remaining: ReportRemaining | None = None,
        rates: Rates | None = None,
    ) -> None:
        info = settings.model_info
        block_in_all_threads(info.signals, settings.model)
        self._settings = settings
        self._rates = rates or Rates()
        self._owned = _Owned.by(settings)
        site = self._owned.build_site(self._rates)
        self._sweeper = sweeper_of(settings)
        own = [getattr(settings, name) for name in info.settings]
        self._server = info.create_server(site, settings.limits, observer, *own)
        if protocol := build_proxy_protocol(settings):
            self._server.use_proxy_protocol(protocol)
        self.listeners = listeners
        """The sockets that accept."""
        self._forks = info.forks
        self._report_remaining = report_remaining
        self._prepared: tuple[_Owned, Callable[[], None]] | None = None
        self._shared: SharedSettings | None = None
        if info.forks:
            self._shared = SharedSettings()
            self._server.renew = self._renew

    def run(self, *control_fds: int) -> bool:
        """Serve until one of control_fds is readable; the second time, stop at once.

        Return whether it was retired, and has ended with its last connection.
        """
        self._sweep()
        grace, report_remaining = self._settings.grace, self._report_remaining
        try:
            self._server.run(self.listeners, control_fds, grace, report_remaining)
        finally:
            if self._sweeper:
                self._sweeper.stop()
            self._owned.close()
        return bool(self._server.has_retired)

    def prepare(self, settings: Settings) -> None:
        """Make everything that other settings need. If that fails, nothing has changed."""
        names = self._settings.model_info.settings
        if setting := first_difference(self._settings, settings, names):
            raise SettingsError(setting, f"{settings.described_model} cannot change it in a reload")
        owned = _Owned.by(settings)
        parts = owned.build_site(self._rates), settings.limits, build_proxy_protocol(settings)
        self._prepared = owned, partial(self._server.reload, *parts)

    def commit(self) -> None:
        """Answer every request from now on with what was prepared; any thread may call this."""
        if not self._prepared:
            return
        former = self._owned
        (self._owned, reload), self._prepared = self._prepared, None
        self._settings = self._owned.settings
        reload()
        former.close()
        if self._shared:
            self._shared.publish(self._settings)
        if self._sweeper:
            self._sweeper.stop()
        self._sweeper = sweeper_of(self._settings)
        self._sweep()

    def _renew(self) -> tuple[Site, Limits] | None:
        """Return the site and limits that a child of a process that forks does not know yet."""
        if not (self._shared and (settings := self._shared.read_new())):
            return None
        return _Owned.by(settings).build_site(self._rates), settings.limits

    def _sweep(self) -> None:
        if not self._sweeper:
            return
        if self._forks:  # such a process must have no other threads
            self._sweeper.sweep()
        else:
            self._sweeper.start()

    def discard(self) -> None:
        """Release what was prepared."""
        self._prepared = None

    def call_when_readable(self, descriptor: int, callback: Callable[[], object]) -> bool:
        """Have a function called on the thread that serves, if there must be no other one."""
        if self._forks:
            self._server.call_when_readable(descriptor, callback)
        return self._forks

    def call_at_tick(self, call: Callable[[], object]) -> None:
        """Have the model call a function at its next tick; any thread may call this."""
        self._server.call_at_tick(call)

    def interrupt(self) -> None:
        """End a call that would delay the stop; a signal handler calls this."""
        self._server.interrupt()

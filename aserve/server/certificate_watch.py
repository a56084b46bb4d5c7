"""Certificates while a server runs: exchanged when their files change, issued anew, warned of."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from aserve.config.configuration import named_by
from aserve.config.settings import Settings, SettingsError
from aserve.server.certificates import certificate_warnings, issue_certificate
from aserve.server.control import Control, WatchedFiles
from aserve.server.orders import ReloadError

INTERVAL_S = 60.0
"""How often a server looks whether its names, its addresses or the dates ask for something."""

_DAY_S = 86_400
_AS_BEFORE = "serving on as before"

_logger = logging.getLogger("aserve")


class CertificateWatch:
    """Looks after the certificates of one server, on the thread of what it is asked.

    present: has new connections get the certificates of settings; raises ReloadError. Connections
    that are open stay, with what they were shown. clock: returns POSIX time.
    """

    def __init__(
        self,
        control: Control,
        present: Callable[[Settings], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._control = control
        self._present = present
        self._clock = clock
        self._settings: Settings | None = None
        self._is_looking = False  # from time to time, which nothing needs without TLS
        self._warned_on = 0.0  # days since 1970

    def use(self, settings: Settings) -> None:
        """Look after the certificates of these settings from now on."""
        self._settings = settings
        files = [path for pair in settings.certificate_files for path in dict.fromkeys(pair)]
        self._control.watch("certificates", WatchedFiles(files), self.exchange)
        if settings.has_tls and not self._is_looking:
            self._look_again()

    def exchange(self) -> None:
        """Present certificates as their files are now; log why that is not possible if so."""
        if not self._settings:
            return
        try:
            with named_by(self._settings.sources):
                settings = replace(self._settings)  # which looks at the files
            self._present(settings)
        except (SettingsError, ReloadError) as error:
            _logger.error("certificates have changed: %s; %s", error, _AS_BEFORE)
        else:
            self._settings = settings

    def look(self) -> None:
        """Have --https issue anew what it must, which is exchanged then; warn of what expires."""
        if not self._settings:
            return
        try:
            issue_certificate(self._settings)
        except SettingsError as error:
            _logger.error("%s; %s", error, _AS_BEFORE)
        now = self._clock()
        if self._warned_on != (day := now // _DAY_S):
            self._warned_on = day
            for setting, reason in certificate_warnings(self._settings, now):
                _logger.warning("%s: %s", setting, reason)

    def _look_again(self) -> None:
        self._is_looking = bool(self._settings and self._settings.has_tls)
        if self._is_looking:
            self._control.call_later(INTERVAL_S, self._look_again)
            self.look()

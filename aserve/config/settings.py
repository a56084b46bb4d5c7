"""All settings, validated once, before anything starts."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aserve.access.logins import Logins
from aserve.access.networks import UNIX
from aserve.access.rights import AccessRules, Rights
from aserve.arguments import checks_names, wrong_types
from aserve.config.access import (
    access_errors,
    is_open_to_all,
    login_errors,
    read_password_file,
    rights_of,
    share_errors,
    user_of,
)
from aserve.config.checks import Errors, value_name
from aserve.config.compression import compression_errors
from aserve.config.fields import SettingFields
from aserve.config.groups import group_errors
from aserve.config.headers import header_errors
from aserve.config.listings import archive_errors, listing_errors, type_errors
from aserve.config.names import DEFAULT_PLACE, ItemError, NamedSettingError, item_of
from aserve.config.pages import NO_PAGES, page_errors, parse_error_pages, parse_page
from aserve.config.processes import model_errors, process_errors
from aserve.config.root import Root, as_root, check_root, printable, without_links
from aserve.config.rules import rule_errors
from aserve.config.tls import (
    certifiable_hosts,
    certificate_errors,
    given_certificates,
    local_certificates,
    tls_errors,
)
from aserve.config.values import is_unix
from aserve.config.virtual_hosts import (
    LINKED_ROOTS,
    OF_A_ROOT,
    PathSettings,
    VirtualHost,
    linked_root_errors,
    site_errors,
    taken_hosts,
)
from aserve.config.writing import writing_errors
from aserve.filesystem.rule_files import read_rules
from aserve.filesystem.visibility import Symlinks, Visibility
from aserve.handlers.clean_urls import CONVENTIONS
from aserve.handlers.writing.areas import WriteArea, parse_area
from aserve.http.media_types import MediaTypes, parse_added_type
from aserve.http.request_target import TargetPath
from aserve.rules.dialects import Dialect, find_dialect
from aserve.rules.redirects_file import Redirect
from aserve.rules.site_rules import SiteRules, parse_lines
from aserve.transport.registry import ModelInfo, find_model

if TYPE_CHECKING:
    from aserve.config.unix_address import UnixAddress
    from aserve.tls.certificates import CertificateFiles

T = TypeVar("T")

_OF_FILES = (
    type_errors,
    page_errors,
    rule_errors,
    header_errors,
    compression_errors,
    listing_errors,
    archive_errors,
    writing_errors,
)


class SettingsError(NamedSettingError, ValueError):
    """A setting that cannot work. `setting` is its name, `reason` what is wrong with it."""


class _PlacedError(SettingsError):
    """An error of which the place in a file is known already: `setting` is that place."""


@checks_names("setting")
@dataclass(frozen=True, slots=True)
class Settings(SettingFields):
    """What to serve, where, and how; and what follows from it.

    Raises SettingsError for a value that cannot work, and TypeError for a name that is no setting.
    """

    def __post_init__(self) -> None:
        self._set("root", checked_root(as_root, self.root))
        self._check(wrong_types)
        self._check_root()
        self._check(linked_root_errors)
        if self.linked_root != LINKED_ROOTS[0]:
            self._set("root", without_links(self.root))
        self._check(*_OF_FILES, login_errors)
        self._set("htpasswd_lines", self._read_logins())
        self._check(group_errors, access_errors, share_errors, model_errors)
        if self.threads is None:
            self._set("threads", self.model_info.default_threads)
        self._check(process_errors, tls_errors, certificate_errors, site_errors)
        self._bind_sites()
        self._bind_paths()

    def _set(self, setting: str, value: object) -> None:
        object.__setattr__(self, setting, value)

    def _check(self, *checks: "Callable[[Settings], Errors]") -> None:
        for check in checks:
            for setting, reason in check(self):
                raise SettingsError(setting, reason)

    def _check_root(self) -> None:
        try:
            self._set("root", checked_root(check_root, self.root))
        except ItemError as error:
            name = value_name(self, "root", error.index)
            raise SettingsError(name, str(error)) from error.__cause__

    def _read_logins(self) -> tuple[str, ...]:
        if not self.htpasswd:
            return ()
        try:
            return read_password_file(Path(self.htpasswd), self.auth, self.root, self.visibility)
        except ValueError as error:
            raise SettingsError("htpasswd", str(error)) from None

    def _bind_sites(self) -> None:
        """Find the settings of each site; raises SettingsError for what is wrong with them."""
        defaults = {name: type(self).__dataclass_fields__[name].default for name in OF_A_ROOT}
        kept = {
            name: source
            for name, source in self.sources.items()
            if name.partition("[")[0] not in defaults
        }
        fixed = defaults | {"sites": (), "sources": kept}
        bound = tuple(one.bound(self._changed("sites", one, fixed)) for one in self.sites)
        for site, reason in taken_hosts(bound):
            raise _error_in("sites", site, "hosts", reason)
        self._set("sites", bound)

    def _bind_paths(self) -> None:
        """Find the settings of each path; raises SettingsError for what is wrong with them."""
        fixed = {"sources": self.sources}
        bound = tuple(one.bound(self._changed("paths", one, fixed)) for one in self.paths)
        self._set("paths", bound)

    def _changed(
        self, kind: str, one: VirtualHost | PathSettings, fixed: Mapping[str, Any]
    ) -> "Settings":
        for setting, reason in one.wrong():
            raise _error_in(kind, one, setting, reason)
        sources = {**fixed["sources"], **one.sources}
        try:
            return replace(self, **{**fixed, **one.own_settings, **one.changes, "sources": sources})
        except _PlacedError:
            raise
        except SettingsError as error:
            raise _error_in(kind, one, error.setting, error.reason) from error

    def place_of(self, setting: str, index: int | str = "") -> str:
        """Return where a setting was set, as "aserve.toml:12" or "--cors", or "default".

        index: of one of its values, where it has several: a file may have each on its own line.
        """
        source = self.sources.get(item_of(setting, index)) or self.sources.get(setting)
        return source.place if source else DEFAULT_PLACE

    @property
    def every_site(self) -> "tuple[Settings, ...]":
        """The settings of each site: of the root for all other hosts first, if there is one."""
        own = (self,) if self.root else ()
        return *own, *(site.settings for site in self.sites)

    @property
    def unix_address(self) -> "UnixAddress | None":
        """The Unix socket that the host is, None for any other host."""
        if not is_unix(self.host):
            return None
        from aserve.config.unix_address import parse_unix_address  # noqa: PLC0415 - or unused

        return parse_unix_address(self.host)

    @property
    def certificate_files(self) -> "tuple[CertificateFiles, ...]":
        """The certificates that are presented, each with its key."""
        return local_certificates(self) if self.https else given_certificates(self.cert, self.key)

    @property
    def named_hosts(self) -> tuple[str, ...]:
        """The hosts that settings name, besides those that are addresses or any."""
        named = (
            self.host,
            *self.allowed_hosts,
            *(one for site in self.sites for one in site.hosts),
        )
        return certifiable_hosts(named)

    @property
    def has_tls(self) -> bool:
        """Whether the server speaks TLS."""
        return self.https or bool(self.cert)

    @property
    def believed_proxies(self) -> tuple[str, ...]:
        """The proxies that are believed what their requests say of clients.

        With the PROXY protocol each has its address, and a client that was named on a Unix socket
        must not be taken for the proxy that has named it.
        """
        if not self.proxy_protocol:
            return self.proxy_trust
        return tuple(one for one in self.proxy_trust if one != UNIX)

    @property
    def scheme(self) -> str:
        """That of its URLs."""
        return "https" if self.has_tls else "http"

    @property
    def visibility(self) -> Visibility:
        """What can be seen at all."""
        return _visibility(self.hide, self.symlinks, dotfiles=self.dotfiles)

    def read_rules(self) -> SiteRules:
        """Return the rules of the site as its files are now."""
        return read_rules(self.rules_root, self.dialect, self.own_redirects)

    @property
    def own_redirects(self) -> tuple[Redirect, ...]:
        """The redirects of settings; raises LineError for a line that is none."""
        return tuple(
            rule._replace(place=self.place_of("redirects", index))
            for index, rule in enumerate(parse_lines(self.redirects, self.dialect))
        )

    @property
    def dialect(self) -> Dialect:
        """How the files of rules are read."""
        convention = CONVENTIONS.get(self.urls)
        hides_index = convention is not None and convention.hides_names
        return find_dialect(self.rules_dialect, hides_index=hides_index)

    @property
    def rules_root(self) -> bytes:
        """The directory with the files of rules, b"" for none."""
        root = self.root if isinstance(self.root, Path) else self.root.get("")
        return os.fsencode(root) if root and self.rules != "off" else b""

    @property
    def described_model(self) -> str:
        """Return the model in words: it may have another form, which can do other things."""
        form = " by the book" if self.by_the_book else ""
        return f"the model {self.model}{form}"

    @property
    def model_info(self) -> ModelInfo:
        """The I/O model."""
        return find_model(self.model, by_the_book=self.by_the_book)

    @property
    def media_types(self) -> MediaTypes:
        """The media type of each file, with the types that were added."""
        return _media_types(self.types, self.charset)

    @property
    def write_areas(self) -> tuple[WriteArea, ...]:
        """Where clients may change files."""
        return tuple(filter(None, map(parse_area, self.write)))

    @property
    def users(self) -> frozenset[str]:
        """The names of the users of the site."""
        return frozenset(map(user_of, (*self.auth, *self.htpasswd_lines)))

    @property
    def logins(self) -> Logins | None:
        """The users of the site with their passwords, None for none."""
        texts = (*self.auth, *self.htpasswd_lines)
        return Logins(texts) if texts else None

    @property
    def rights(self) -> Rights:
        """Who may read and write what these settings are for."""
        return rights_of(self)

    @property
    def access_rules(self) -> AccessRules | None:
        """Who may read and write which paths of the site, None where anyone may."""
        rules = [(one.match, one.settings.rights) for one in self.paths if one.sets_access]
        if all(map(is_open_to_all, (self.rights, *(rights for _, rights in rules)))):
            return None
        return AccessRules(rules, self.rights)

    @property
    def index_names(self) -> tuple[bytes, ...]:
        """The names of index files."""
        return tuple(map(os.fsencode, self.index))

    @property
    def spa_page(self) -> TargetPath | None:
        """The page of an application."""
        return parse_page(self.spa)

    @property
    def error_pages(self) -> Mapping[int, TargetPath] | None:
        """The page of each status for which one is set; None if there are none at all."""
        return None if self.error_page == (NO_PAGES,) else parse_error_pages(self.error_page)


# Tables that all sites share whose settings are equal: for each they take 90 KB and a millisecond.
@lru_cache(maxsize=64)
def _visibility(hide: tuple[str, ...], symlinks: str, *, dotfiles: bool) -> Visibility:
    return Visibility(hide, dotfiles=dotfiles, symlinks=Symlinks(symlinks))


@lru_cache(maxsize=64)
def _media_types(types: tuple[str, ...], charset: str) -> MediaTypes:
    added = [parsed for text in types if (parsed := parse_added_type(text))]
    return MediaTypes(added, None if charset.lower() == "none" else charset)


def checked_root(check: Callable[[T], Root], root: T) -> Root:
    """Return a root that has passed a check of aserve/config/root.py; raises SettingsError.

    An ItemError, about one of several paths, is left to the caller, who may know its line.
    """
    try:
        return check(root)
    except ItemError:
        raise
    except ValueError as error:
        raise SettingsError("root", str(error)) from error.__cause__


def _error_in(
    kind: str, one: VirtualHost | PathSettings, setting: str, reason: str
) -> SettingsError:
    """Return the error of a setting of a site or of paths; a file names the place of it."""
    if source := one.sources.get(setting):
        return _PlacedError(source.label, reason)
    return SettingsError(kind, f"{printable(one.name)}: {setting}: {reason}")

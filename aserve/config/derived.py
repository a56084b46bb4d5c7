"""What follows from settings: values that have a meaning beyond their text."""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from aserve.access.logins import Logins
from aserve.access.rights import AccessRules, Rights
from aserve.config.access import is_open_to_all, rights_of, user_of
from aserve.config.pages import NO_PAGES, parse_error_pages, parse_page
from aserve.config.tls import certifiable_hosts, given_certificates, local_certificates
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
    from aserve.config.settings import Settings
    from aserve.tls.certificates import CertificateFiles


class DerivedSettings:
    """The part of Settings that has no fields of its own."""

    __slots__ = ()

    @property
    def every_site(self: "Settings") -> "tuple[Settings, ...]":
        """The settings of each site: of the root for all other hosts first, if there is one."""
        own = (self,) if self.root else ()
        return *own, *(site.settings for site in self.sites)

    @property
    def certificate_files(self: "Settings") -> "tuple[CertificateFiles, ...]":
        """The certificates that are presented, each with its key."""
        return local_certificates(self) if self.https else given_certificates(self.cert, self.key)

    @property
    def named_hosts(self: "Settings") -> tuple[str, ...]:
        """The hosts that settings name, besides those that are addresses or any."""
        named = (
            self.host,
            *self.allowed_hosts,
            *(one for site in self.sites for one in site.hosts),
        )
        return certifiable_hosts(named)

    @property
    def has_tls(self: "Settings") -> bool:
        """Whether the server speaks TLS."""
        return self.https or bool(self.cert)

    @property
    def scheme(self: "Settings") -> str:
        """That of its URLs."""
        return "https" if self.has_tls else "http"

    @property
    def visibility(self: "Settings") -> Visibility:
        """What can be seen at all."""
        return _visibility(self.hide, self.symlinks, dotfiles=self.dotfiles)

    def read_rules(self: "Settings") -> SiteRules:
        """Return the rules of the site as its files are now."""
        return read_rules(self.rules_root, self.dialect, self.own_redirects)

    @property
    def own_redirects(self: "Settings") -> tuple[Redirect, ...]:
        """The redirects of settings; raises LineError for a line that is none."""
        return tuple(
            rule._replace(place=self.place_of("redirects", index))
            for index, rule in enumerate(parse_lines(self.redirects, self.dialect))
        )

    @property
    def dialect(self: "Settings") -> Dialect:
        """How the files of rules are read."""
        convention = CONVENTIONS.get(self.urls)
        hides_index = convention is not None and convention.hides_names
        return find_dialect(self.rules_dialect, hides_index=hides_index)

    @property
    def rules_root(self: "Settings") -> bytes:
        """The directory with the files of rules, b"" for none."""
        root = self.root if isinstance(self.root, Path) else self.root.get("")
        return os.fsencode(root) if root and self.rules != "off" else b""

    @property
    def described_model(self: "Settings") -> str:
        """Return the model in words: it may have another form, which can do other things."""
        form = " by the book" if self.by_the_book else ""
        return f"the model {self.model}{form}"

    @property
    def model_info(self: "Settings") -> ModelInfo:
        """The I/O model."""
        return find_model(self.model, by_the_book=self.by_the_book)

    @property
    def media_types(self: "Settings") -> MediaTypes:
        """The media type of each file, with the types that were added."""
        return _media_types(self.types, self.charset)

    @property
    def write_areas(self: "Settings") -> tuple[WriteArea, ...]:
        """Where clients may change files."""
        return tuple(filter(None, map(parse_area, self.write)))

    @property
    def users(self: "Settings") -> frozenset[str]:
        """The names of the users of the site."""
        return frozenset(map(user_of, (*self.auth, *self.htpasswd_lines)))

    @property
    def logins(self: "Settings") -> Logins | None:
        """The users of the site with their passwords, None for none."""
        texts = (*self.auth, *self.htpasswd_lines)
        return Logins(texts) if texts else None

    @property
    def rights(self: "Settings") -> Rights:
        """Who may read and write what these settings are for."""
        return rights_of(self.readers, self.writers, has_users=bool(self.users))

    @property
    def access_rules(self: "Settings") -> AccessRules | None:
        """Who may read and write which paths of the site, None where anyone may."""
        rules = [(one.match, one.settings.rights) for one in self.paths if one.sets_access]
        if all(map(is_open_to_all, (self.rights, *(rights for _, rights in rules)))):
            return None
        return AccessRules(rules, self.rights)

    @property
    def index_names(self: "Settings") -> tuple[bytes, ...]:
        """The names of index files."""
        return tuple(map(os.fsencode, self.index))

    @property
    def spa_page(self: "Settings") -> TargetPath | None:
        """The page of an application."""
        return parse_page(self.spa)

    @property
    def error_pages(self: "Settings") -> Mapping[int, TargetPath] | None:
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

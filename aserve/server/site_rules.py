"""From settings to the rules of a site: what reads its files of rules, and what follows them."""

import time

from aserve.cache.file_watch import FileWatch
from aserve.config.settings import Settings
from aserve.filesystem.directory import FileSystem
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.rule_files import FixedRules, RuleFiles, rule_paths
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.handlers.cache_control import NO_CACHE, for_seconds
from aserve.handlers.clean_urls import CONVENTIONS, CleanUrls
from aserve.handlers.handler import Handler
from aserve.handlers.redirects import Redirects, RuledSite, RulesSource
from aserve.handlers.writing.areas import WriteAreas
from aserve.http.request_target import TargetPath

_ROOT = TargetPath((), is_directory=True)


def build_rule_files(
    settings: Settings, mounts: Mounts, directories: WatchedDirectories | None
) -> RulesSource | None:
    """Return the rules of a site, None where there can be none."""
    root, first = settings.rules_root, settings.own_redirects
    if not root:
        return FixedRules(settings.read_rules()) if first else None
    watch = FileWatch(rule_paths(root), directories.monitor) if directories else None
    strict, now = settings.strict_rules, int(time.time())
    return RuleFiles(
        root, settings.dialect, mounts, now=now, first=first, is_strict=strict, watch=watch
    )


def build_redirects(
    settings: Settings, files: FileSystem, handler: Handler, unlisted: Handler, rules: RulesSource
) -> Redirects:
    """Return the handler of rules around another.

    unlisted: the same without lists of directories, which the hosts whose rules they are do not
    have: a rule comes before a list.
    """
    by_url = CleanUrls(files, CONVENTIONS[settings.rules_dialect], settings.index_names)
    # A name with a hash in it says nothing of another URL that leads to the same file.
    seconds = settings.cache if isinstance(settings.cache, int) else None
    cache_control = NO_CACHE if seconds is None else for_seconds(seconds)(_ROOT)
    site = RuledSite(handler, unlisted, by_url, files, cache_control)
    if settings.write:
        from aserve.policies.uploaded_pages import UploadedPages

        areas = WriteAreas(settings.write_areas)
        site = site._replace(disarm=UploadedPages(areas).disarm)
    return Redirects(site, rules, decode_slashes=settings.decode_slashes)

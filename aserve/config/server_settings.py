"""The settings of a server inside a program, as the keyword arguments that they are there."""

from collections.abc import Mapping
from typing import TypedDict

from aserve.config.groups import GroupTable
from aserve.config.headers import HeaderTable
from aserve.config.virtual_hosts import PathSettings, VirtualHost
from aserve.handlers.handler import Handler
from aserve.http1.limits import Limits


class ServerSettings(TypedDict, total=False):
    """The settings of a server inside a program, as keyword arguments. Settings explains them."""

    host: str
    threads: int | None
    queue: int
    grace: float
    allow_trace: bool
    allow_connect: tuple[str, ...]
    response_cache: int
    charset: str
    types: tuple[str, ...]
    decode_slashes: bool
    index: tuple[str, ...]
    urls: str
    spa: str
    error_page: tuple[str, ...]
    redirects: tuple[str, ...]
    rules: str
    rules_dialect: str
    strict_rules: bool
    server_header: bool
    headers: tuple[str, ...] | HeaderTable
    cache: str | int
    cors: tuple[str, ...]
    isolate: bool
    security_headers: bool
    compress: str
    compress_memory: int
    compress_folder: str
    etag: str
    handlers: Mapping[str, Handler] | None
    listing: str
    page_size: int
    readme: bool
    hide: tuple[str, ...]
    dotfiles: bool
    symlinks: str
    title: str
    archive: tuple[str, ...]
    archive_max_bytes: int
    archive_max_files: int
    dav: bool
    live: bool
    write: tuple[str, ...]
    on_conflict: str
    max_upload: int
    quota: int
    min_free: int
    fsync: bool
    auth: tuple[str, ...]
    htpasswd: str
    groups: tuple[str, ...] | GroupTable
    readers: tuple[str, ...]
    writers: tuple[str, ...]
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    proxy_trust: tuple[str, ...]
    proxy_protocol: bool
    rate: str
    bandwidth: int
    share: str
    model: str
    by_the_book: bool
    cert: tuple[str, ...]
    key: tuple[str, ...]
    https: bool
    share_ca: bool
    http_redirect: int | None
    hsts: int
    dispatch: str
    limits: Limits
    linked_root: str
    allowed_hosts: tuple[str, ...]
    sites: tuple[VirtualHost, ...]
    paths: tuple[PathSettings, ...]

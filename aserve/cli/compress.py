"""The command `aserve compress`: siblings in all codings, written ahead of time."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from aserve.cli.declarations import declare
from aserve.cli.exit_codes import FAILED, OK
from aserve.cli.help import Rows
from aserve.cli.messages import print_message
from aserve.compression.ahead import DirectoryCompressor, Selection, Totals
from aserve.compression.codecs import available_codings
from aserve.config.cpus import available_cpus
from aserve.config.settings import SettingsError
from aserve.filesystem.visibility import Visibility
from aserve.http.content_negotiation import CODINGS

SECTIONS: Mapping[str, Rows] = {
    "Examples": (
        ("aserve compress www/", "# what is missing or out of date"),
        ("aserve compress --check www/", "# in CI: exit code 1 if anything is"),
        ("aserve compress --exclude '*.map' www/", "# all but source maps"),
    )
}

_COMPRESS = "Compress"

Directory = Annotated[
    str,
    typer.Argument(metavar="DIR", rich_help_panel="Arguments", help="The directory of the site."),
]
Include = Annotated[
    list[str] | None,
    declare(_COMPRESS, "--include", value="GLOB", text="Only these files; repeatable."),
]
Exclude = Annotated[
    list[str] | None,
    declare(_COMPRESS, "--exclude", value="GLOB", text="Not these files; repeatable."),
]
Dotfiles = Annotated[bool, declare(_COMPRESS, "--dotfiles", text="Files with a leading dot, too.")]
Check = Annotated[
    bool, declare(_COMPRESS, "--check", text="Write nothing; exit code 1 if siblings are outdated.")
]
DryRun = Annotated[bool, declare(_COMPRESS, "--dry-run", text="Only list what would be written.")]


def compress(
    directory: Directory,
    include: Include = None,
    exclude: Exclude = None,
    dotfiles: Dotfiles = False,
    check: Check = False,
    dry_run: DryRun = False,
) -> int:
    """Write compressed siblings of a site's files, as small as possible: .br, .zst and .gz.

    aserve sends them to clients that accept the coding. Nothing is ever deleted.
    """
    if not Path(directory).is_dir():
        raise SettingsError("DIR", f"there is no directory {directory!r}")
    selection = Selection(
        _policy("--exclude", exclude or [], dotfiles=dotfiles),
        _policy("--include", include, dotfiles=True) if include else None,
    )
    codings = available_codings()
    if missing := [coding for coding in CODINGS if coding not in codings]:
        print_message(f"no {' and '.join(missing)}: pip install 'aserve-http[compress]'")
    writes = not (check or dry_run)
    root = os.fsencode(directory)
    compressor = DirectoryCompressor(root, selection, codings, writes=writes)
    try:
        totals = compressor.run(
            available_cpus(), _print_progress if sys.stderr.isatty() else _ignore_progress
        )
    except KeyboardInterrupt:
        print_message("stopped; each sibling that was written is whole")
        return FAILED
    except OSError as error:  # of a directory
        print_message(f"error: {os.fsdecode(error.filename or root)!r}: {error.strerror}")
        return FAILED
    if not writes:
        _print_outdated(totals)
    _print_summary(totals, codings)
    for path, reason in totals.failures:
        print_message(f"error: {os.fsdecode(path)!r}: {reason}")
    return FAILED if totals.failures or (check and totals.outdated) else OK


def _policy(option: str, globs: list[str], *, dotfiles: bool) -> Visibility:
    try:
        return Visibility(globs, dotfiles=dotfiles)
    except ValueError as error:
        raise SettingsError(option, str(error)) from error


def _print_progress(done: int, files: int) -> None:
    sys.stderr.write(f"\r{done:,} of {files:,} files" + "\n" * (done == files))
    sys.stderr.flush()


def _ignore_progress(_done: int, _files: int) -> None:
    """Print nothing: no user waits at a terminal."""


def _print_outdated(totals: Totals) -> None:
    for path, coding, is_stale in totals.outdated:
        sibling = os.fsdecode(path + CODINGS[coding])
        shown = sibling if sibling.isprintable() else repr(sibling)
        print(f"{'stale' if is_stale else 'missing'}: {shown}")


def _print_summary(totals: Totals, codings: tuple[str, ...]) -> None:
    for coding in codings:
        before, after = totals.bytes_before[coding], totals.bytes_after[coding]
        share = f", {before:,} -> {after:,} bytes ({after / before:.0%})" if before else ""
        written, current = totals.written[coding], totals.current[coding]
        print(f"{coding + ':':6}{written:,} written, {current:,} up to date{share}")

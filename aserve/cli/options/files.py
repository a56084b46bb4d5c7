"""Options about files and their pages: what is there, and what folders look like."""

from typing import Annotated, TypedDict

from aserve.cli import completion
from aserve.cli.declarations import declare, declare_flag
from aserve.cli.options.defaults import DEFAULTS, default

_FILES = "Files"
_PAGES = "Folder pages"


class FileOptions(TypedDict, total=False):
    """The options, as text, by the names of settings."""

    charset: Annotated[
        str,
        declare(
            _FILES,
            "--charset",
            value="NAME|none",
            text="Charset of text, except XML.",
            show_default=default("charset"),
            autocompletion=completion.charsets,
        ),
    ]
    types: Annotated[
        list[str],
        declare(
            _FILES,
            "--type",
            value="SUFFIX=TYPE",
            text="Media type of a suffix; repeatable.",
            autocompletion=completion.types,
        ),
    ]
    decode_slashes: Annotated[
        bool,
        declare_flag(_FILES, "--decode-slashes", text="Treat %2F in a path as a slash, for npm."),
    ]
    linked_root: Annotated[
        str,
        declare(
            _FILES,
            "--linked-root",
            value="NAME",
            text="Links to DIR: follow, or reload.",
            show_default=default("linked_root"),
            autocompletion=completion.linked_roots,
        ),
    ]
    compress: Annotated[
        str,
        declare(
            _FILES,
            "--compress",
            value="NAME",
            text="auto, siblings alone, or off.",
            show_default=default("compress"),
            autocompletion=completion.compressions,
        ),
    ]
    compress_folder: Annotated[
        str,
        declare(
            _FILES,
            "--compress-folder",
            value="DIR",
            text="Compressed files on disk.",
        ),
    ]
    live: Annotated[bool, declare_flag(_FILES, "--live", text="Reload pages when a file changes.")]
    listing: Annotated[
        str,
        declare(
            _PAGES,
            "--listing",
            value="auto|on|off",
            text="List folders without index.",
            show_default=default("listing"),
            autocompletion=completion.listings,
        ),
    ]
    page_size: Annotated[
        str,
        declare(
            _PAGES,
            "--page-size",
            value="N",
            text="Entries on one page.",
            show_default=default("page_size"),
        ),
    ]
    readme: Annotated[
        bool, declare_flag(_PAGES, "--no-readme", text="Show no README with a folder.")
    ]
    hide: Annotated[
        list[str],
        declare(
            _PAGES,
            "--hide",
            value="GLOB",
            text="Hide names or paths; repeatable.",
            autocompletion=completion.hides,
        ),
    ]
    dotfiles: Annotated[
        bool, declare_flag(_PAGES, "--dotfiles", text="Show dotfiles, except keys.")
    ]
    symlinks: Annotated[
        str,
        declare(
            _PAGES,
            "--symlinks",
            value="inside|all|none",
            text="Links that are followed.",
            show_default=default("symlinks"),
            autocompletion=completion.symlinks,
        ),
    ]
    title: Annotated[
        str, declare(_PAGES, "--title", value="TEXT", text="Name of the site on its pages.")
    ]
    archive: Annotated[
        str,
        declare(
            _PAGES,
            "--archive",
            value="LIST|off",
            text=f"Archives: {','.join(DEFAULTS['archive'])}.",
            show_default="all",
            autocompletion=completion.archives,
        ),
    ]

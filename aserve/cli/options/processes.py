"""Options about memory, limits, processes and threads."""

from typing import Annotated, TypedDict

from aserve.cli import completion
from aserve.cli.declarations import declare, declare_flag
from aserve.cli.options.defaults import DEFAULTS, default
from aserve.transport.registry import DEFAULT, MODELS

_LIMITS = "Caching and limits"
_PROCESSES = "Processes and models"


def _default_threads() -> str:
    """Return how many threads models have, as "8, proactor 0"."""
    usual = MODELS[DEFAULT].default_threads
    others = {name: info.default_threads for name, info in MODELS.items()}
    unusual = (f"{name} {number}" for name, number in others.items() if number != usual)
    return ", ".join((str(usual), *unusual))


class ProcessOptions(TypedDict, total=False):
    """The options, as text, by the names of settings."""

    response_cache: Annotated[
        str,
        declare(
            _LIMITS,
            "--response-cache",
            value="SIZE|off",
            text="Memory for responses, per worker.",
            show_default=f"{DEFAULTS['response_cache'] >> 20}M",
            autocompletion=completion.cache_sizes,
        ),
    ]
    compress_memory: Annotated[
        str,
        declare(
            _LIMITS,
            "--compress-memory",
            value="SIZE|off",
            text="Memory for compressed files.",
            show_default=f"{DEFAULTS['compress_memory'] >> 20}M",
            autocompletion=completion.cache_sizes,
        ),
    ]
    archive_max_bytes: Annotated[
        str,
        declare(
            _LIMITS,
            "--archive-max-bytes",
            value="SIZE",
            text="Most bytes of an archive.",
            show_default=f"{DEFAULTS['archive_max_bytes'] >> 30}G",
        ),
    ]
    archive_max_files: Annotated[
        str,
        declare(
            _LIMITS,
            "--archive-max-files",
            value="N",
            text="Most files in an archive.",
            show_default=default("archive_max_files"),
        ),
    ]
    limits: Annotated[
        list[str],
        declare(
            _LIMITS,
            "--limit",
            value="NAME=N",
            text="Change one of the limits below; repeatable.",
            autocompletion=completion.limits,
        ),
    ]
    workers: Annotated[
        str,
        declare(
            _PROCESSES,
            "--workers",
            "-w",
            value="N|auto",
            text="Processes; auto: one per CPU.",
            show_default=default("workers"),
            autocompletion=completion.workers,
        ),
    ]
    model: Annotated[
        str,
        declare(
            _PROCESSES,
            "--model",
            value="NAME",
            text="I/O model.",
            show_default=default("model"),
            autocompletion=completion.models,
        ),
    ]
    by_the_book: Annotated[
        bool,
        declare_flag(
            _PROCESSES, "--by-the-book", text="Take each step of the model as textbooks do."
        ),
    ]
    threads: Annotated[
        str,
        declare(
            _PROCESSES,
            "--threads",
            value="N",
            text="Threads of each pool.",
            show_default=_default_threads(),
        ),
    ]
    dispatch: Annotated[
        str,
        declare(
            _PROCESSES,
            "--dispatch",
            value="NAME",
            text="How jobs go to these threads.",
            show_default=default("dispatch"),
            autocompletion=completion.dispatches,
        ),
    ]

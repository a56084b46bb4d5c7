"""Options of the whole suite, the number of its processes, and the order of the tests."""

import gc
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

# Packages that add to hypothesis, such as trio, take half a second of each process to import.
os.environ["HYPOTHESIS_NO_PLUGINS"] = "1"
from hypothesis import HealthCheck, settings

from aserve.filesystem import mounts
from aserve.linux.posix_aio import COMPLETED
from aserve.linux.signalfd import block_signals
from tests.temporary_files import keep_apart, own_directory, prefer_var_tmp

# POSIX AIO needs it in every thread. Here the first process of the suite has no other thread yet,
# and each process that is started has the signals blocked that its parent has.
block_signals((COMPLETED,))

prefer_var_tmp()

# How long an example takes depends on the machine and on what else it does. Each run tries the same
# examples: a run that fails by chance tells nothing about the change under test. The fuzzer of
# make test-all tries new ones, and its other tests seven times as many.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=int(os.environ.get("SUITE_EXAMPLES", "15")),
)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--row", help="only rows of the conformance table with this name, such as 'range-*'"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Two for each core: a third of the time of a quick test is waiting for another process.

    With three for two cores the quick tests took 95 s here and with four 86 s, though each worker
    imports and collects all tests once more, which takes three seconds of a core.
    """
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return 2 * len(os.sched_getaffinity(0))


_MODULE_MARK = re.compile(rb"^pytestmark = \[?pytest\.mark\.(\w+)", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module all of whose tests are left out: those of the browser import selenium.

    A tenth of all modules, which take each process 0.4 s. Only `-m "not (this or that)"` tells.
    """
    left_out = re.fullmatch(r"not \(([\w ]+)\)", config.option.markexpr)
    if not left_out or collection_path.suffix != ".py":
        return None
    mark = _MODULE_MARK.search(collection_path.read_bytes())
    return (mark and mark[1].decode() in left_out[1].split(" or ")) or None


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Look for no garbage in what collecting makes, which is to stay: it takes a quarter longer."""
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the container tests first: they mostly wait, and would delay the end if they ran last."""
    items.sort(key=lambda item: "docker" not in item.keywords)


def pytest_collection_finish() -> None:
    """Leave the tests out of each collection of garbage: they live as long as the process.

    A test makes some thousand objects, most of which end with it. Python's default, to look at
    each 700 new ones, passes many on to the next generation that would be gone soon.
    """
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Look for garbage once: what leaks warns. pytest would look five times, and Python at exit."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _files_are_made_fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    keep_apart(tmp_path_factory.getbasetemp())
    with own_directory():
        yield


@pytest.fixture(scope="session", autouse=True)
def _mounts_of_others_are_not_seen() -> Iterator[None]:
    """A mount empties every cache, and other tests and programs mount something at any time."""
    table = mounts._mount_table()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mounts, "_mount_table", lambda: table)
        yield


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections. It is bound, so that no other program listens there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]

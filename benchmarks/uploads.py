"""What uploads cost a server, how fast they reach the disk, and what other clients notice."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.loads import HOST, Ask, Counted, finished, load, loading
from benchmarks.processes import NoMeasurement, end, processor_seconds
from benchmarks.servers import LOAD_CORE, Running, Server, running
from benchmarks.site import KB, write

GB, MB = 10**9, 10**6
CONNECTIONS, CALM_RATE, CALM_MB_S = 64, 500, 100
_SMALL_SIZE = 10 * KB
_QUICK_SIZE = GB // 4
_OTHER_CLIENT = Ask(1)
_TIMEOUT_S = 20.0
"""Seconds until the first of many uploads has to be stored."""


def measure_large(server: Server, root: Path, seconds: int) -> dict[str, float]:
    """Return what one large upload costs, and its speed beside dd's with the same bytes.

    It is on the disk when fsync says so, which is called here behind the response: servers that
    have called it before have nothing left to wait for.
    """
    size = GB if seconds > 1 else _QUICK_SIZE
    with _folder(root) as folder, _zeros(size) as source, running(server, root) as one:
        load("wrk", _OTHER_CLIENT, one.port, 1)
        stored = folder / "large"
        before = _copy_seconds(source, stored)
        used, begun = processor_seconds(one.pid), time.perf_counter()
        _wait_for(_upload(source, one, stored))
        answered = time.perf_counter() - begun
        used = processor_seconds(one.pid) - used
        _put_on_disk(stored, size)
        on_disk = time.perf_counter() - begun
        _remove(stored)
        copying = (before + _copy_seconds(source, stored)) / 2
    return {
        "cpu_s_gb": used / size * GB,
        "answer_s_gb": answered / size * GB,
        "on_disk_s_gb": on_disk / size * GB,
        "mb_s": size / on_disk / MB,
        "dd_times": copying / on_disk,
    }


def measure_small(server: Server, root: Path, seconds: int) -> dict[str, float]:
    """Return what small uploads cost that arrive on many connections at once."""
    with _folder(root) as folder, running(server, root) as one:
        load("wrk", _OTHER_CLIENT, one.port, 1)
        used = processor_seconds(one.pid)
        with _small_uploads(one, seconds) as process:
            counted = finished("abench", process)
        used = processor_seconds(one.pid) - used
        _check_stored(folder, counted)
    return {
        "us": used / counted.replies * 1e6,
        "rate": counted.replies / counted.seconds,
        "p99_ms": counted.p99_ms,
    }


def measure_beside(server: Server, root: Path, seconds: int) -> dict[str, float]:
    """Return how long another client waits for a small file, alone and beside uploads.

    The uploads are as many for every server, and leave the processors time: what grows is what
    they hold up, not what they take.
    """
    with _folder(root) as folder, running(server, root) as one:
        load("wrk", _OTHER_CLIENT, one.port, 1)
        alone = load("wrk", _OTHER_CLIENT, one.port, seconds)
        with _small_uploads(one, seconds + 2, "-R", str(CALM_RATE)) as process:
            _wait_until_stored(folder)
            many = load("wrk", _OTHER_CLIENT, one.port, seconds)
            _check_stored(folder, finished("abench", process))
        with _large_upload(folder, one, (seconds + 2) * CALM_MB_S * MB):
            large = load("wrk", _OTHER_CLIENT, one.port, seconds)
    return {
        "p99_times": max(many.p99_ms, large.p99_ms) / alone.p99_ms,
        "p99_alone_ms": alone.p99_ms,
        "p99_many_ms": many.p99_ms,
        "p99_large_ms": large.p99_ms,
        "max_alone_ms": alone.max_ms,
        "max_many_ms": many.max_ms,
        "max_large_ms": large.max_ms,
    }


@contextmanager
def _folder(root: Path) -> Iterator[Path]:
    """Make the folder that is uploaded to, and put it aside at the end.

    Its small files are removed with the site: for minutes after a file was removed, ext4 does not
    use its inode again, and takes 0.5 ms of each new file to look past all of them.
    """
    folder = root / "uploads"
    folder.mkdir()
    try:
        yield folder
    finally:
        (folder / "large").unlink(missing_ok=True)
        folder.rename(tempfile.mkdtemp(prefix="uploads-", dir=root))
        os.sync()  # or the next measurement would wait for it


@contextmanager
def _zeros(size: int) -> Iterator[Path]:
    """Make a file of zeros that takes no room on a disk, and read it into memory."""
    with tempfile.NamedTemporaryFile(prefix="compare-") as file:
        file.truncate(size)
        while file.read(MB):
            pass
        yield Path(file.name)


def _copy_seconds(source: Path, target: Path) -> float:
    """Return how long dd takes to copy a file to the disk; the copy is removed."""
    words = ["dd", f"if={source}", f"of={target}", "bs=1M", "conv=fsync", "status=none"]
    begun = time.perf_counter()
    subprocess.run(["taskset", "-c", LOAD_CORE, *words], check=True)
    taken = time.perf_counter() - begun
    _remove(target)
    return taken


def _remove(file: Path) -> None:
    file.unlink()
    os.sync()


def _put_on_disk(file: Path, size: int) -> None:
    if file.stat().st_size != size:
        raise NoMeasurement(f"it stored {file.stat().st_size} bytes of {size}")
    with file.open("rb") as stored:
        os.fsync(stored.fileno())


def _upload(source: Path, one: Running, target: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start to upload a file with curl."""
    url = f"http://{HOST}:{one.port}/{target.parent.name}/{target.name}"
    curl = ["curl", "--silent", "--fail", "--output", "/dev/null", *words, "-T", str(source), url]
    return subprocess.Popen(["taskset", "-c", LOAD_CORE, *curl], stdin=subprocess.DEVNULL)


def _wait_for(upload: subprocess.Popen[bytes]) -> None:
    if upload.wait():
        raise NoMeasurement(f"curl's exit code for an upload is {upload.returncode}")


@contextmanager
def _large_upload(folder: Path, one: Running, size: int) -> Iterator[None]:
    """Have one upload under way, at CALM_MB_S, until the block ends."""
    with _zeros(size) as source:
        limit = ("--limit-rate", f"{CALM_MB_S * MB}")
        upload = _upload(source, one, folder / "large", *limit)
        try:
            yield
            if upload.poll() is not None:
                raise NoMeasurement(f"the upload ended early, with {upload.returncode}")
        finally:
            end(upload)


@contextmanager
def _small_uploads(one: Running, seconds: int, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Have abench store a file under one new name after the other."""
    with tempfile.TemporaryDirectory(prefix="compare-") as own:
        body = Path(own) / "body"
        write(body, _SMALL_SIZE)
        ask = small_uploads(str(body), *words)
        with loading("abench", ask, one.port, seconds) as process:
            yield process


def small_uploads(body: str, *words: str) -> Ask:
    """Return what abench is asked for, with the path of the file that it uploads."""
    arguments = ("-X", "PUT", "-d", f"@{body}", "--expect", "201", *words)
    return Ask(CONNECTIONS, "/uploads/{n}", arguments=arguments)


def _wait_until_stored(folder: Path) -> None:
    end_of_patience = time.monotonic() + _TIMEOUT_S
    while not any(folder.iterdir()):
        if time.monotonic() > end_of_patience:
            raise NoMeasurement(f"no upload was stored in {_TIMEOUT_S:.0f} s")
        time.sleep(0.01)


def _check_stored(folder: Path, counted: Counted) -> None:
    """Raise NoMeasurement unless every upload that was answered is there, and whole."""
    whole = sum(entry.stat().st_size == _SMALL_SIZE for entry in os.scandir(folder))
    if whole < counted.replies:
        raise NoMeasurement(f"it stored {whole} of {counted.replies} uploads")

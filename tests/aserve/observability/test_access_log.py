import errno
import os
import re
import select
import signal
import socket
import sys
import threading
from itertools import product
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.messages import HttpError, Request
from aserve.observability import access_log
from aserve.observability.access_log import AccessLog
from aserve.observability.client_shares import ClientShares
from aserve.observability.log_file import LogFile, open_log
from aserve.observability.log_formats import (
    MAX_FIELD,
    Entry,
    combined_format,
    escape,
    shortened,
    terminal_format,
)
from aserve.observability.log_process import LogProcess, _write_entries
from tests.marks import slow

HEAD = (
    'GET /a HTTP/1.1\r\nHost: x\r\nReferer: http://y/\r\nUser-Agent: curl/8 "q"\r\n'
    "X-User-Agent: no\r\n\r\n"
)
ENTRY = Entry(971_186_136, "127.0.0.1", Request("GET", "/a", head=HEAD), 200, 2326, 0.0042)


def test_the_combined_format():
    assert combined_format(ENTRY) == (
        '127.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /a HTTP/1.1" 200 2326'
        ' "http://y/" "curl/8 \\x22q\\x22"'
    )


def test_unknown_values_are_a_dash():
    entry = ENTRY._replace(request=Request("GET", "/a"))
    assert combined_format(entry).endswith('"GET /a" 200 2326 "-" "-"')
    assert combined_format(ENTRY._replace(request=Request("", ""))).endswith('"-" 200 2326 "-" "-"')


def test_a_terminal_line_has_time_client_method_target_status_size_and_duration():
    line = terminal_format(80, use_color=False)(ENTRY)
    assert line.split()[1:] == ["127.0.0.1", "GET", "/a", "200", "2,326", "B", "4.2", "ms"]
    assert len(line) <= 80
    assert "\x1b" not in line
    assert "\x1b[32m200\x1b[0m" in terminal_format(80, use_color=True)(ENTRY)


def test_the_size_of_a_body_that_was_received_is_logged():
    entry = ENTRY._replace(request=ENTRY.request._replace(received=12_345), body_size=0)
    assert combined_format(entry).endswith(' "curl/8 \\x22q\\x22" "received 12345"')
    assert combined_format(entry._replace(cut=True)).endswith(' "received 12345" "cut"')
    assert "  +12,345 B " in terminal_format(80, use_color=False)(entry)
    large = entry._replace(request=entry.request._replace(received=5 * 10**13))
    line = terminal_format(80, use_color=False)(large)
    assert " +50,000,000 MB " in line
    assert shortened(entry.request, 3).received == 12_345


def test_no_credentials_are_logged():
    secrets = "Cookie: id=SECRET\r\nAuthorization: Basic SECRET\r\nX-Token: SECRET\r\n"
    request = Request("GET", "/a", head=HEAD.replace("\r\n\r\n", f"\r\n{secrets}\r\n"))
    for formatter in (combined_format, terminal_format(200, use_color=False)):
        assert "SECRET" not in formatter(ENTRY._replace(request=request))


@given(st.text())
def test_no_unsafe_character_reaches_a_line(text):
    escaped = escape(text.encode().decode("latin-1"))
    assert escaped.isascii()
    assert escaped.isprintable()
    assert '"' not in escaped


@given(st.text(alphabet=st.characters(max_codepoint=255), min_size=500, max_size=5_000))
def test_a_field_is_bounded_and_no_escape_is_cut(text):
    escaped = escape(text)
    whole = "".join(rf"\x{ord(c):02x}" if c in '"\\' or not " " <= c <= "~" else c for c in text)
    assert len(escaped) <= 1_024
    assert escaped == whole or (escaped[-3:] == "..." and whole.startswith(escaped[:-3]))
    assert not re.search(r"\\(?!x[0-9a-f]{2})", escaped)


@pytest.mark.parametrize("filling", ["\xff", "a", '"', "\x1b"])
def test_a_line_is_bounded_whatever_a_client_sends(filling):
    head = f"GET /{filling * 8_000} HTTP/1.1\r\nReferer: {filling * 30_000}\r\n"
    head += f"User-Agent: {filling * 30_000}\r\n\r\n"
    line = combined_format(ENTRY._replace(request=Request("GET", "/", head=head)))
    assert len(line) < 3 * 1_024 + 100
    assert line.isascii()
    assert line.isprintable()


def test_a_text_is_escaped_by_one_call():
    calls = []
    request = Request("GET", "/", head=HEAD.replace("curl/8", "\xff" * 30_000))
    sys.setprofile(lambda _frame, event, _: event == "call" and calls.append(1))
    try:
        combined_format(ENTRY._replace(request=request))
    finally:
        sys.setprofile(None)
    assert len(calls) < 30


REQUESTS = {
    "plain": Request("GET", "/a"),
    "options": Request("OPTIONS", "/a"),
    "long-method": Request("M" * 8_000, "/"),
    "long-target": Request("DELETE", "/" + "a" * 8_000 + "/end.txt"),
    "escaped-target": Request("GET", "/" + "\xff" * 8_000),
    "tls": Request("", "", error=HttpError(400, "This is a TLS handshake on a plain HTTP port.")),
    "empty": Request("", ""),
    "method-only": Request("GET", ""),
}


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", REQUESTS)
def test_columns_have_fixed_widths(columns, name):
    format_entry = terminal_format(columns, use_color=False)
    clients = ("127.0.0.1", "2001:db8:ffff:ffff:ffff:ffff:ffff:1")
    for client, size in product(clients, ((0, 0.0), (99_999_999, 9.9999), (1 << 40, 8e4))):
        line = format_entry(Entry(ENTRY.at, client, REQUESTS[name], 400, *size))
        found = len(line), line[columns - 30 : columns - 23], line.isascii(), line.isprintable()
        assert found == (columns, "  400  ", True, True), line


def test_both_ends_of_a_long_target_are_shown():
    line = terminal_format(80, use_color=False)(ENTRY._replace(request=REQUESTS["long-target"]))
    assert "DELETE /aa" in line
    assert "/end.txt  200" in line


@pytest.mark.parametrize(
    ("columns", "shown"),
    [(120, "  a TLS handshake on a plain HTTP port. "), (80, "  a TLS handshake on a...  ")],
)
def test_another_protocol_is_named(columns, shown):
    for request in (REQUESTS["tls"], shortened(REQUESTS["tls"], 10)):
        line = terminal_format(columns, use_color=False)(ENTRY._replace(request=request))
        assert shown in line
        assert len(line) == columns


def test_a_server_that_forks_logs_what_others_log(monkeypatch):
    """Its entries pass through a socket. Nothing is forked here."""
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setattr(os, "fork", os.getpid)
    monkeypatch.setattr(socket, "socketpair", lambda *_: (receiver.dup(), sender))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    log = Mock()
    process = LogProcess(lambda: log, 1, frozenset())
    with receiver:
        for request in REQUESTS.values():
            process("c", request, 400, 3, 0.5, True)
        sender.close()
        assert _write_entries(receiver, lambda: log, 1) == 0
    show = terminal_format(120, use_color=False)
    for call, request in zip(log.record.call_args_list, REQUESTS.values(), strict=True):
        client, received, *rest = call.args
        assert (client, *rest) == ("c", 400, 3, 0.5, True)
        expected = ENTRY._replace(request=shortened(request, MAX_FIELD + 1))
        assert show(ENTRY._replace(request=received)) == show(expected)
        assert combined_format(ENTRY._replace(request=received)) == combined_format(expected)


def test_entries_are_written_in_order_and_closing_loses_none(tmp_path):
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    errors = []
    log = AccessLog(descriptor, lambda entry: entry.client, errors.append)
    for number in range(5_000):
        log.record(str(number), ENTRY.request, 200, 1, 0.1)
    log.close(30)
    os.close(descriptor)
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(5_000)]
    assert errors == []


def test_entries_that_do_not_fit_are_counted_and_reported(monkeypatch):
    monkeypatch.setattr(access_log, "_MAX_QUEUED", 5_000)
    read_end, write_end = os.pipe()
    errors = []
    log = AccessLog(write_end, lambda _: "x" * 100, errors.append)
    while not log._lost:  # the pipe is not read, so it fills, and then the buffer does
        log.record("c", ENTRY.request, 200, 1, 0.1)
    lost = log._lost
    reader = threading.Thread(target=lambda: list(iter(lambda: os.read(read_end, 65_536), b"")))
    reader.start()
    log.close(30)
    os.close(write_end)
    reader.join()
    os.close(read_end)
    assert errors == [
        f"access log: too many lines are queued; {lost} lost so far",
        "access log: writing again",
        f"access log: {lost} requests are missing",
    ]


@pytest.mark.parametrize("number", [1, 50])
def test_a_log_that_cannot_be_written_is_reported_once(number):
    read_end, write_end = os.pipe()
    os.close(read_end)
    errors = []
    log = AccessLog(write_end, lambda _: "x", errors.append)
    for _ in range(number):
        log.record("c", ENTRY.request, 200, 1, 0.1)
    log.close(30)
    os.close(write_end)
    assert errors == [
        "access log: Broken pipe; lines are queued until it can be written again",
        f"access log: {number} requests are missing",
    ]


def test_a_stalled_reader_does_not_keep_the_log_open():
    read_end, write_end = os.pipe()
    errors = []
    log = AccessLog(write_end, lambda _: "x" * 4_000, errors.append)
    for _ in range(100):
        log.record("c", ENTRY.request, 200, 1, 0.1)
    log.close(0)
    (error_message,) = errors
    missing = re.fullmatch(
        "access log: its reader has stalled; the last (.+) lines are missing", error_message
    )
    assert 80 < int(missing[1]) <= 100  # a pipe holds 16 of them
    os.read(read_end, 1 << 20)
    os.close(read_end)
    log._writer.join()
    os.close(write_end)


class FailingFile:
    """A file that cannot be written until works is set."""

    path = "log"

    def __init__(self):
        self.pending = b""
        self.written = b""
        self.works = threading.Event()
        self.has_failed = threading.Event()

    def write(self, _timeout):
        if not self.works.is_set():
            self.has_failed.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        self.written += self.pending
        self.pending = b""

    def follow(self):
        """Do nothing: it is never rotated."""


def test_a_disk_that_was_full_for_a_moment_loses_no_entry(monkeypatch):
    file, errors = FailingFile(), []
    log = AccessLog(file, lambda entry: entry.client, errors.append)
    log.record("first", ENTRY.request, 200, 1, 0.1)
    assert file.has_failed.wait(60)
    log.record("second", ENTRY.request, 200, 1, 0.1)
    file.works.set()
    while b"second" not in file.written:
        threading.Event().wait(0.001)
    log.close(30)
    assert file.written == b"first\nsecond\n"
    assert errors == [
        "access log: No space left on device; lines are queued until it can be written again",
        "access log: writing again",
    ]


def test_one_client_cannot_keep_others_out_of_the_log(monkeypatch):
    monkeypatch.setattr(access_log, "_MAX_QUEUED", 200_000)
    monkeypatch.setattr(access_log, "_SHARING_FROM", 100_000)
    file = FailingFile()
    log = AccessLog(file, lambda entry: entry.client, lambda _: None)
    log.record("attacker", ENTRY.request, 200, 1, 0.1)
    assert file.has_failed.wait(60)
    for _ in range(10_000):
        log.record("attacker", ENTRY.request, 200, 1, 0.1)
    for number in range(20):
        log.record(f"modest{number}", ENTRY.request, 200, 1, 0.1)
    file.works.set()
    log.close(30)
    written = file.written.decode().split()
    assert [line for line in written if line != "attacker"] == [f"modest{n}" for n in range(20)]


def test_clients_without_an_address_have_no_share_in_common():
    """Behind a proxy on a Unix socket they are many, and none of them is told from another."""
    shares = ClientShares(1_000)
    assert [shares.take("a", 10, 640) for _ in range(3)] == [True, True, False]
    assert all(shares.take("-", 10, 640) for _ in range(60))
    assert not shares.take("-", 641, 640)


def test_the_kept_part_of_a_long_head_is_bounded():
    head = (
        f"GET /{'a' * 9_000} HTTP/1.1\r\nUser-Agent: {chr(255) * 30_000}\r\nCookie: secret\r\n\r\n"
    )
    request = shortened(Request("GET", "/" + "a" * 9_000, head=head), 1_000)
    assert len(request.head) < 2_100
    assert "secret" not in request.head
    line = combined_format(ENTRY._replace(request=request))
    assert line.isascii()
    assert "\\xff" * 100 in line


def test_a_line_is_never_longer_than_a_pipe_takes_whole(tmp_path):
    path = tmp_path / "log"
    log = AccessLog(os.open(path, os.O_WRONLY | os.O_CREAT), combined_format, lambda _: None)
    long = "é" * 8_000
    head = f"GET /{long} HTTP/1.1\r\nReferer: {long}\r\nUser-Agent: {long}\r\n\r\n"
    log.record("c", Request("GET", "/", head=head), 400, 1, 0.1)
    log.close(30)
    (line,) = path.read_bytes().splitlines(keepends=True)
    assert len(line) <= 4_096


class FailingWrites:
    """Makes os.write fail while error is set, after it has written the first part bytes."""

    def __init__(self, monkeypatch):
        self._write = os.write
        self.failed = threading.Event()
        self.error, self.part = None, 0
        monkeypatch.setattr(os, "write", self._try_write)

    def _try_write(self, descriptor, data):
        if not self.error:
            return self._write(descriptor, data)
        if self.part:
            written, self.part = self._write(descriptor, data[: self.part]), 0
            return written
        self.failed.set()
        raise OSError(self.error, os.strerror(self.error))


def record_all(log, numbers):
    for number in numbers:
        log.record(str(number), ENTRY.request, 200, 1, 0.1)


@pytest.mark.parametrize("part", [0, 1, 300, 315])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("is_shared", [True, False])
def test_a_disk_that_is_full_for_a_moment_loses_no_line(
    tmp_path, monkeypatch, part, error, is_shared
):
    writes = FailingWrites(monkeypatch)
    path = tmp_path / "log"
    file = LogFile(open_log(str(path)), str(path), is_shared=is_shared)
    errors = []
    log = AccessLog(file, lambda entry: f"{entry.client:>20}", errors.append)
    writes.error, writes.part = error, part
    record_all(log, range(100))
    writes.failed.wait()
    writes.error = None
    record_all(log, range(100, 200))
    log.close(30)
    assert path.read_text() == "".join(f"{number:>20}\n" for number in range(200))
    reason = f"access log: {os.strerror(error)}; lines are queued until it can be written again"
    assert errors == [reason, "access log: writing again"]


def test_an_incomplete_line_on_a_full_disk_is_truncated(tmp_path, monkeypatch):
    writes = FailingWrites(monkeypatch)
    path = tmp_path / "log"
    log = AccessLog(LogFile(open_log(str(path))), lambda _: "x" * 99, lambda _: None)
    writes.error, writes.part = errno.ENOSPC, 250
    record_all(log, range(10))
    writes.failed.wait()
    log.close(30)
    assert path.read_text() == ("x" * 99 + "\n") * 2


def test_entries_lost_to_dev_full_are_counted():
    errors = []
    log = AccessLog(LogFile(open_log("/dev/full"), "/dev/full"), combined_format, errors.append)
    record_all(log, range(7))
    log.close(30)
    assert errors == [
        "access log: No space left on device; lines are queued until it can be written again",
        "access log: 7 requests are missing",
    ]


def read_lines(descriptor, count):
    data = b""
    while data.count(b"\n") < count:
        data += os.read(descriptor, 65_536)
    return data.decode().split()


def test_the_reader_of_a_fifo_may_be_started_again(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    file = LogFile(open_log(str(path)), str(path))
    stopped = threading.Event()
    log = AccessLog(file, lambda entry: entry.client, lambda _: stopped.set())
    record_all(log, range(10))
    assert read_lines(reader, 10) == [str(number) for number in range(10)]
    os.close(reader)
    record_all(log, range(10, 20))
    stopped.wait()  # it has reported a broken pipe
    reader = os.open(path, os.O_RDONLY)
    assert read_lines(reader, 10) == [str(number) for number in range(10, 20)]
    log.close(30)
    os.close(reader)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_full_pipe_is_waited_for_and_lines_stay_whole(blocking):
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, blocking)
    errors = []
    log = AccessLog(write_end, lambda entry: entry.client * 40, errors.append)
    record_all(log, range(1_000, 3_000))  # 320 kB, of which a pipe holds 64
    while select.select([], [write_end], [], 0)[1]:
        os.sched_yield()
    written = read_lines(read_end, 2_000)
    assert written == [str(number) * 40 for number in range(1_000, 3_000)]
    log.close(30)
    assert errors == []
    os.close(read_end)
    os.close(write_end)


class BlockedLog:
    """A log whose writer is blocked while it formats a line: all further entries are queued."""

    def __init__(self):
        self.resume, self._formatting = threading.Event(), threading.Event()
        self.lines = []
        self._read_end, self._write_end = os.pipe()
        self.errors = []
        self.log = AccessLog(self._write_end, self._format_entry, self.errors.append)
        self.log.record("first", ENTRY.request, 200, 1, 0.1)
        self._formatting.wait()

    def _format_entry(self, entry):
        self._formatting.set()
        self.resume.wait()
        self.lines.append(entry.client)
        return ""

    def finish(self):
        self.resume.set()
        reader = threading.Thread(
            target=lambda: list(iter(lambda: os.read(self._read_end, 4_096), b""))
        )
        reader.start()
        self.log.close(30)
        os.close(self._write_end)
        reader.join()
        os.close(self._read_end)


@pytest.mark.parametrize("attackers", [1, slow(20)])
def test_attackers_cannot_keep_others_out_of_the_log(attackers):
    blocked = BlockedLog()
    agent = Request(
        "GET", "/", head="GET / HTTP/1.1\r\nUser-Agent: " + "\xff" * 30_000 + "\r\n\r\n"
    )
    for _ in range(20_000):
        for attacker in range(attackers):
            blocked.log.record(f"2001:db8:0:{attacker}::{_:x}", agent, 200, 1, 0.1)
        if blocked.log._rejected > 100:
            break
    rejected = blocked.log._rejected
    assert rejected > 100
    for number in range(100):
        for client in ("192.0.2.1", f"198.51.100.{number}", f"::ffff:203.0.113.{number}"):
            blocked.log.record(client, ENTRY.request, 200, 1, 0.1)
    assert blocked.log._rejected == rejected
    blocked.finish()
    assert sum("." in line for line in blocked.lines) == 300
    assert any("too many lines are queued" in line for line in blocked.errors[:1])


def test_a_failed_reopen_is_reported_once_and_the_old_file_is_kept(tmp_path):
    path = tmp_path / "new" / "log"
    path.parent.mkdir()
    log = AccessLog(
        LogFile(open_log(str(path)), str(path)), lambda entry: entry.client, (errors := []).append
    )
    path.parent.rename(tmp_path / "old")
    for number in range(5):
        record_all(log, [number])
        while log._entries or log._file.pending:
            os.sched_yield()
    log.close(30)
    assert (tmp_path / "old" / "log").read_text().split() == ["0", "1", "2", "3", "4"]
    assert len(errors) == 1
    assert errors[0].startswith(f"access log: cannot open '{path}': No such file or directory; ")


def test_only_the_logged_parts_of_a_long_head_are_kept():
    blocked = BlockedLog()
    long = Request("GET", "/a", head=HEAD[:-2] + "X: " + "x" * 30_000 + "\r\n\r\n")
    blocked.log.record("c", long, 200, 1, 0.1)
    assert blocked.log._bytes_queued - blocked.log._bytes_written < 2_000
    blocked.finish()


def test_a_shortened_head_gives_the_same_line():
    long = Request(
        "GET", "/a", head=HEAD[:-2] + "Referer: second\r\nX: " + "x" * 9_000 + "\r\n\r\n"
    )
    short = shortened(long, 2_048)
    assert len(short.head) < 200
    assert combined_format(ENTRY._replace(request=short)) == combined_format(ENTRY)

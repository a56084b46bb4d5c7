"""Mistyped or hostile options: one line that names the option, and no data lost."""

import asyncio
import os
import sys

import pytest

URL = "http://127.0.0.1:1/"


def one_line(ran, *expected):
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert all(word in ran.err for word in expected), ran.err
    assert "Input should" not in ran.err
    assert "internal error" not in ran.err


READERS = {
    "--urls": "--urls={}",
    "--replay": "--replay={}",
    "--data": "-d@{}",
    "--form": "-Fa=@{}",
    "--cacert": "--cacert={}",
    "--cert": "--cert={}",
}
LOG = '::1 - - [10/Oct/2000:13:55:00 +0000] "GET /x HTTP/1.1" 200 1\n'


@pytest.mark.parametrize("option", READERS)
@pytest.mark.parametrize("name", ["same", "link", "hard", "./same"])
def test_report_does_not_overwrite_an_input(option, name, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = LOG if option == "--replay" else "/a\n"
    (tmp_path / "same").write_text(content)
    (tmp_path / "link").symlink_to("same")
    os.link("same", "hard")
    ran = refused(READERS[option].format("same"), "--json", name, URL)
    assert (tmp_path / "same").read_text() == content
    if option.endswith("cert") or option == "--cacert":
        one_line(ran)  # refused without TLS
    else:
        one_line(ran, f"--json: {name} is the input of {option}")


def test_report_does_not_overwrite_a_certificate(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("abench.plan.route.TlsOptions.check", lambda *_: None)
    file = tmp_path / "ca.pem"
    file.write_text("trust")
    ran = refused("--cacert", str(file), "--html", str(file), "https://127.0.0.1:1/")
    one_line(ran, f"--html: {file} is the input of --cacert")


@pytest.mark.slow
async def test_report_does_not_overwrite_standard_input(tmp_path, serve):

    server = await serve()
    body = tmp_path / "body"
    for words in (("--json", str(body)), ("--json", "/dev/stdin"), ("--csv", "/dev/fd/0")):
        body.write_text("hello")
        with body.open("rb") as stream:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "abench", "-n", "1", "-d", "@-", *words, server.url),
                stdin=stream,
                stderr=asyncio.subprocess.PIPE,
            )
            _, err = await process.communicate()
        assert (process.returncode, err.count(b"\n")) == (2, 1)
        assert body.read_text() == "hello"
    assert server.requests == []


def test_inputs_are_reset_for_each_command_line(refused, tmp_path):
    """A program may call main again: only the inputs of the current call are protected."""
    file = tmp_path / "urls"
    file.write_text("/a\n")
    one_line(refused("--urls", str(file), "--json", str(file), URL), "is the input of --urls")
    ran = refused("-n", "1", "-c", "1", "-w", "1", "--json", str(file), URL)
    assert ran.code == 1  # no server


@pytest.mark.parametrize("value", ["x", "", "1ms", "5%", "nan", "inf", "-1", "0"])
@pytest.mark.parametrize("option", ["--speed", "--rounds", "--server-pid"])
def test_invalid_numbers_are_refused(option, value, refused, tmp_path):
    log = tmp_path / "log"
    log.write_text(LOG)
    more = {"--speed": ("--replay", str(log), URL), "--rounds": (URL, URL), "--server-pid": (URL,)}
    command = ("ab-test",) if option == "--rounds" else ()
    one_line(refused(*command, option, value, *more[option]), f"{option}: ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-d", "@", URL), "--data: the name of a file is missing"),
        (("-F", "a=@", URL), "--form: the name of a file is missing"),
        (("--json", "a\0b", URL), "--json: "),
        (("--server-cgroup", "a\0b", URL), "--server-cgroup: "),
        (("--server-cgroup", "", URL), "--server-cgroup: "),
        (("--proxy", "a\nb:80", URL), "--proxy: it contains a control character"),
        (("--proxy", b"\xff:80", URL), "--proxy: it contains a control character"),
        (("--dask", "a\nb:80", URL), "--dask: "),
        (("compare", "a,,b", "c"), "the name of a file is missing"),
        (("compare", "", "c"), "the name of a file is missing"),
    ],
)
def test_missing_or_invalid_values_are_refused(words, expected, refused):
    one_line(refused(*map(os.fsdecode, words)), expected)

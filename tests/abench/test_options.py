"""Options as users write them, those of other programs included, and arbitrary values."""

import asyncio
import contextlib
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.cli.plan_options import plan_from_options
from abench.cli.user_options import PlanOptions
from abench.errors import ParameterError
from abench.plan import quantities
from abench.plan.plan import Plan
from abench.report import document
from abench.stats.histogram import Histogram
from abench.stats.results import build_results
from abench.stats.summary import Summary
from tests.marks import slow, slow_except

URL = "http://127.0.0.1:1/"


def request_of(**options):
    """Return the request of a plan as bytes."""
    return next(plan_from_options([URL], **options).workload())[0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5), ("5s", 5), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("1m30s", 90), ("0.5", 0.5),
        (".5s", 0.5), ("250us", 0.00025), ("1d", 86_400), ("5S", 5), ("5sec", 5), ("2min", 120),
        ("5 s", 5), ("1e1", 10), ("-1", -1),
    ],
)  # fmt: skip
def test_duration_units(text, seconds):
    assert quantities.parse_seconds("--time", text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "number"),
    [("10", 10), ("1k", 1000), ("1.5K", 1500), ("2M", 2_000_000), ("1e3", 1000), ("1 k", 1000)],
)
def test_count_suffixes(text, number):
    assert quantities.parse_count("--requests", text) == number


@pytest.mark.parametrize(
    ("text", "rate"), [("500", 500), ("2k", 2000), ("0.5", 0.5), ("100/s", 100), ("90/m", 1.5)]
)
def test_rate_units(text, rate):
    assert quantities.parse_rate("--rate", text) == rate


@given(st.text())
def test_any_other_text_is_refused(text):
    for read in (quantities.parse_seconds, quantities.parse_count, quantities.parse_rate):
        with contextlib.suppress(ParameterError):
            assert isinstance(read("--x", text), int | float)


@pytest.mark.parametrize(
    "option", ["-t", "--time", "--duration", "--timeout", "--warmup", "-c", "-n", "-w", "-R"]
)
@pytest.mark.parametrize(
    "text", ["", "x", "5x", "5ss", "--5", "1,000", "\u221e", "5s5", "s", "9" * 5000]
)
def test_invalid_quantity_names_its_option(refused, option, text):
    ran = refused(option, text, URL)
    assert ran.code == 2
    assert ran.err.startswith("abench: error: --")
    assert ran.err.count("\n") == 1


async def test_units_are_accepted_everywhere(serve, abench):
    server = await serve()
    words = ("-t500ms", "--timeout", "5s", "--warmup", "100ms", "-c", "0.002k", "-w", "auto")
    ran = await abench(*words, "--json", "-", f"127.0.0.1:{server.port}")
    assert (ran.json["connections"], ran.json["timeout_s"]) == (2, 5)
    assert ran.json["duration_s"] > 0.4
    assert plan_from_options([URL], stages="500ms@1k,ramp:2@1k-60/m").schedule.length_s == 2.5


async def test_time_or_number_ends_the_run_whichever_is_first(serve, abench):
    server = await serve()
    ran = await abench("-t", "60", "-n", "5", "--json", "-", server.url)
    assert (ran.code, ran.json["requests"]["total"]) == (0, 5)
    silent = await serve(lambda _: None)
    ran = await abench("-t", "0.3", "-n", "1G", "--json", "-", silent.url)
    assert (ran.code, ran.json["requests"]["total"]) == (1, 0)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("-t4", "-c100", "-d30s", URL), "-t 30s"),
        (("-d", "5s", URL), "-t 5s"),
        (("-z", "5s", URL), "hey's and oha's -z is -t"),
        (("-disable-keepalive", URL), "--no-keepalive"),
        (("--disable-keepalive", URL), "--no-keepalive"),
        (("-k", "-c", "5", URL), "kept alive"),
        (("-T", "text/plain", URL), "Content-Type"),
        (("--latency", URL), "always shown"),
        (("-p", __file__, URL), "-d @FILE"),
        (("-q", "5", URL), "-R"),
        (("-m", "POST", URL), "-X"),
        (("URL",), "calibrate"),
    ],
)
def test_options_of_other_programs_get_a_hint(refused, words, hint):
    ran = refused(*words)
    assert ran.code == 2
    assert hint in ran.err
    assert ran.err.count("\n") == 1


def test_body_that_looks_like_a_duration():
    assert request_of(data=["5s"], method="POST").endswith(b"\r\n\r\n5s")
    assert request_of(data=["5"]).endswith(b"\r\n\r\n5")


def test_several_bodies_are_joined_as_by_curl(tmp_path):
    (tmp_path / "body").write_bytes(b"\0c=3")
    request = request_of(data=["a=1", "b=2", f"@{tmp_path / 'body'}"])
    assert request.endswith(b"Content-Length: 12\r\n\r\na=1&b=2&\0c=3")
    assert b"\r\nContent-Type: application/x-www-form-urlencoded\r\n" in request


@pytest.mark.parametrize(
    ("header", "cookie", "sent"),
    [
        (["Cookie: a=1"], ["b=2"], b"a=1; b=2"),
        (["cookie: a=1; c=3"], ["b=2", "d=4"], b"a=1; c=3; b=2; d=4"),
        (["Cookie:"], ["b=2"], b"b=2"),
        (["COOKIE: a=1", "Cookie: c=3"], ["b=2"], b"a=1; c=3; b=2"),
        ([], ["b=2"], b"b=2"),
    ],
)
def test_cookies_are_one_header(header, cookie, sent):
    request = request_of(header=header, cookie=cookie)
    assert request.lower().count(b"\r\ncookie:") == 1
    assert b"\r\nCookie: " + sent + b"\r\n" in request


@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("--user", {"user": "a:b", "header": ["authorization: Bearer x"]}),
        ("--form", {"form": [f"a=@{__file__}"], "header": ["Content-Type: multipart/form-data"]}),
        ("--form", {"form": ["a=b"], "data": [""]}),
    ],
)
def test_conflicting_options_are_refused(option, options):
    with pytest.raises(ParameterError) as caught:
        plan_from_options([URL], **options)
    assert caught.value.parameter == option


@pytest.mark.parametrize("option", ["data", "form"])
def test_a_number_goes_into_texts_and_not_into_files(option, tmp_path):
    (tmp_path / "file").write_bytes(b"<{n}>")
    values = ["a={n}", f"b=@{tmp_path}/file"]
    if option == "data":
        values = [value.removeprefix("b=") for value in values]
    plan = plan_from_options([URL], **{option: values})
    sent = plan.request_template.prepare(plan.target).encode(12)
    assert b"<{n}>" in sent
    assert (b"a=12&<" if option == "data" else b'"a"\r\n\r\n12\r\n') in sent


NOT_UTF_8 = os.fsdecode(b"x\xff=\xfe")


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (("-d", NOT_UTF_8), b"\r\n\r\nx\xff=\xfe"),
        (("-F", NOT_UTF_8), b"\r\n\r\nx%FF=%FE"),
        (("-F", NOT_UTF_8, "-F", f"a=@{__file__}"), b'name="x\xff"\r\n\r\n\xfe\r\n'),
        (("-u", f"{NOT_UTF_8}:p"), b"Basic eP89/jpw"),
        slow(("--user", f"{NOT_UTF_8}:p"), b"Basic eP89/jpw"),
    ],
)
async def test_non_utf8_arguments_are_sent_unchanged(serve, tmp_path, abench, options, sent):
    got = asyncio.get_running_loop().create_future()

    def accept(peer):
        def data_received(data):
            seen.extend(data)
            if sent in seen and not got.done():
                got.set_result(True)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        seen = bytearray()
        peer.data_received = data_received

    server = await serve(accept=accept)
    pages = ["html"] if "--user" in options else []  # which takes 0.5 s
    forms = ("json", "csv", "hgrm", *pages)
    files = [f"--{form}={tmp_path / form}" for form in forms]
    ran = await abench("-n", "1", *options, *files, server.url)
    assert (ran.code, ran.err) == (0, "")
    assert got.done()
    for path in tmp_path.iterdir():
        assert "\\udc" not in path.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("-H", f"X: {NOT_UTF_8}"), ("--urls", NOT_UTF_8), ("--json", f"no/{NOT_UTF_8}"),
        (f"{URL}{NOT_UTF_8}",), (f"--{NOT_UTF_8}",),
        *map(slow, [
            ("-H", NOT_UTF_8), ("-b", NOT_UTF_8), ("-X", NOT_UTF_8), ("--replay", NOT_UTF_8),
            ("-d", f"@{NOT_UTF_8}"), ("--unix-socket", NOT_UTF_8), ("--proxy", f"{NOT_UTF_8}:80"),
            ("--resolve", NOT_UTF_8), ("--fail-if", NOT_UTF_8), ("--stages", NOT_UTF_8),
            ("--arrivals", NOT_UTF_8), ("--server-cgroup", NOT_UTF_8), ("--expect", NOT_UTF_8),
            ("--dask", NOT_UTF_8), ("--cacert", NOT_UTF_8), ("--sni", NOT_UTF_8),
            ("--key", NOT_UTF_8), ("--cert", NOT_UTF_8),
        ]),
    ],
)  # fmt: skip
async def test_non_utf8_arguments_are_refused_in_one_line(abench, words):
    ran = await abench(*words, URL)
    assert ran.code in {1, 2}
    assert ran.err.startswith("abench: error: ")
    assert ran.err.count("\n") == 1


ABSURD = [
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "1e400",
    "9" * 400,
    "x",
    "\u00e9",
    "a:b:c",
    "@",
    "=",
    "{n}",
    "\n",
]
OPTIONS = [
    *(
        "-c",
        "-t",
        "-n",
        "-w",
        "--timeout",
        "--pipeline",
        "-R",
        "--arrivals",
        "--stages",
        "--replay",
    ),
    *("--speed", "--warmup", "--urls", "-X", "-H", "-F", "-u", "-b", "--expect", "-p", "--resolve"),
    *("--unix-socket", "--cacert", "--cert", "--key", "--sni", "--fail-if", "--server-pid"),
    *("--server-cgroup", "--dask", "--csv", "--json", "--html", "--hgrm", "-d"),
    *("--think-time", "--requests-per-connection", "--bandwidth"),
]


OF_TLS = ("--cacert", "--cert", "--key", "--sni")


@pytest.mark.parametrize(
    "option",
    slow_except(OPTIONS, "-c", "-t", "-X", "-H", "--urls", "--resolve", "--dask"),
)
def test_no_option_value_is_an_internal_error(refused, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in ABSURD:
        for url in (URL, "https://127.0.0.1:1/") if option in OF_TLS else (URL,):
            ran = refused(option, value, url)
            assert ran.code in {1, 2}, (option, value, ran.err)
            assert ran.err.startswith("abench: error: "), (option, value, ran.err)
            assert ran.err.splitlines()[1:] == [], (option, value)
            assert "internal error" not in ran.err, (option, value)


OTHERS = [
    *(
        "compare X X",
        "compare X,X X",
        "compare X",
        "report X",
        "report X --csv X",
        "calibrate -t X",
    ),
    *(
        "calibrate -w X",
        "calibrate X",
        "ab-test --rounds X U U",
        "ab-test X U",
        "ab-test X",
        "--webbench -t X U",
    ),
    *(
        "--webbench -c X U",
        "--webbench -p X U",
        "--webbench X",
        "--webbench --X U",
        "compare S S X",
    ),
    *(
        "compare S S --tolerance X",
        "compare S S,X",
        "compare --json S X",
        "X",
        "--X",
        "-X",
        "ab-test U U -RX",
    ),
]


@pytest.mark.parametrize(
    "line",
    slow_except(OTHERS, "compare X X", "report X", "ab-test X U", "--webbench X", "X", "--X"),
)
def test_no_argument_of_a_command_is_an_internal_error(refused, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = build_results(Plan(url=URL), Summary(elapsed_ns=10**9, service=Histogram.of([1] * 9)))
    with (tmp_path / "saved").open("w") as stream:
        document.write_json(replace(report, succeeded=9), stream)
    (tmp_path / "directory").mkdir()
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for value in (*ABSURD, "directory", "binary", "-", "--", "/dev/null", NOT_UTF_8):
        known = {"X": value, "S": "saved", "U": URL}
        words = [
            known.get(word, word.replace("X", value) if word[0] == "-" else word)
            for word in line.split()
        ]
        words = [",".join(known.get(each, each) for each in word.split(",")) for word in words]
        ran = refused(*words)
        seen = ascii((words, ran.code, ran.err))  # pytest-xdist cannot transfer lone surrogates
        assert ran.code in {0, 1, 2, 4}, seen
        assert "internal error" not in seen
        assert ran.err.count("\n") <= 1, seen
        assert ran.code in {0, 4} or ran.err.startswith("abench: error: "), seen


@pytest.mark.parametrize("option", OPTIONS)
def test_empty_value_is_refused(refused, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = refused(option, "", "https://127.0.0.1:1/")
    assert ran.code == (1 if option == "-d" else 2)


def test_every_option_is_tested():
    flags = 9  # which have no value
    assert len(OPTIONS) >= len(PlanOptions.__annotations__) - flags

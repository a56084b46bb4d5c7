"""The command line in a report has no secrets."""

import io
import json
from dataclasses import replace

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from abench.cli import bench, main, redaction
from abench.cli.ab_test import ab_test
from abench.cli.calibrate import calibrate
from abench.cli.webbench import _parser as webbench_parser
from abench.errors import ParameterError
from abench.plan import url_file
from abench.plan.plan import Plan
from abench.plan.route import Route
from abench.plan.target import Target
from abench.report import document, html, tables, text
from abench.runner.environment import read_environment
from abench.stats.results import build_results
from abench.stats.summary import Summary

SECRET = "p@ss"


def parser_of(command):
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return typer.main.get_command(app)


PARSER = parser_of(bench.bench)
BENCH = redaction.click_options(PARSER)
WEBBENCH = redaction.argparse_options(webbench_parser())


def published(*words, options=BENCH):
    return list(redaction.redact(words, options))


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("-u me:pw", "-u ..."),
        ("-ume:pw", "-u..."),
        ("-u=me:pw", "-u..."),
        ("--user=me:pw", "--user=..."),
        ("--user me:pw", "--user ..."),
        ("-u -b", "-u ..."),  # the value of an option, although it looks like one
        ("-ku me:pw", "-ku ..."),
        ("-kume:pw", "-ku..."),
        ("-kb a=s", "-kb ..."),
        ("-b a=s -b c=d", "-b ... -b ..."),
        ("-kH X-Api-Key:s", "-kH X-Api-Key: ..."),
        ("-H authorization:s", "-H authorization: ..."),
        ("--header=Cookie:s", "--header=Cookie: ..."),
        ("-HX-Token:s", "-HX-Token: ..."),
        ("-H Accept:text/html", "-H Accept:text/html"),
        ("-H X-Token:", "-H X-Token:"),
        ("-H X-Debug:1", "-H X-Debug:1"),
        ("-H X-Debug:on1", "-H X-Debug: ..."),
        ("-H X-PIN:12", "-H X-PIN: ..."),
        ("-H nonsense", "-H ..."),
        ("-F password=s -Fa=@file", "-F password=... -Fa=@file"),
        ("-d password=s", "-d ..."),
        ("-dpassword=s", "-d..."),
        ("--data=@file", "--data=@file"),
        ("http://me:p@ss@h/a", "http://...@h/a"),
        ("http://token@h/", "http://...@h/"),
        ("me:p@ss@h:80/@x", "...@h:80/@x"),
        ("http://h/@scope/x?a@b", "http://h/@scope/x?a@b"),
        ("--proxy http://u:p@h:1", "--proxy http://...@h:1"),
        ("--proxy=u:p@h:1", "--proxy=...@h:1"),
        ("-pu:p@h:1 -kp u:p@h:1", "-p...@h:1 -kp ...@h:1"),
        ("--dask tls://u:p@h:1", "--dask tls://...@h:1"),
        ("-kc 5 -c10 -kn 5 -R 5 --unix-socket @name", "-kc 5 -c10 -kn 5 -R 5 --unix-socket @name"),
        ("--json a@b --csv -", "--json a@b --csv -"),
        ("-- -u http://me:pw@h/", "-- -u http://...@h/"),
        ("-k -u", "-k -u"),
    ],
)
def test_secret_values_are_hidden(words, shown):
    assert " ".join(published(*words.split())) == shown


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("-p u:p@h -frt5 http://a:b@h/", "-p ...@h -frt5 http://...@h/"),
        ("-fpu:p@h", "-fp...@h"),
        ("-p=u:p@h", "-p=...@h"),
        ("--prox u:p@h --pro=u:p@h --ti 5", "--prox ...@h --pro=...@h --ti 5"),
    ],
)
def test_secret_values_of_webbench_are_hidden(words, shown):
    assert " ".join(published(*words.split(), options=WEBBENCH)) == shown


VALUES = {
    "--user": "me:{}", "--cookie": "a={}", "--header": "X-Key: {}", "--data": "{}",
    "--form": "a={}", "--proxy": "me:{}@h:1",
}  # fmt: skip


@st.composite
def _words(draw):
    """Return an option in any spelling, alone or after flags, and its value."""
    spelling = draw(st.sampled_from([one for one, name in BENCH.items() if name in VALUES]))
    value = VALUES[BENCH[spelling]].format("s3cret")
    if spelling.startswith("--"):
        return draw(st.sampled_from([[spelling, value], [f"{spelling}={value}"]]))
    flags = "k" * draw(st.integers(0, 3))
    option = f"-{flags}{spelling[1:]}"
    return draw(st.sampled_from([[option, value], [option + value], [f"{option}={value}"]]))


@settings(deadline=None)  # a busy machine is no fault
@given(st.lists(st.one_of(_words(), st.sampled_from([["-k"], ["-c", "5"], ["http://h/"]]))))
def test_secret_values_are_hidden_in_every_spelling(groups):
    """The words that are hidden are those that the program's parser takes as values."""
    words = [word for group in groups for word in group]
    shown = published(*words)
    assert "s3cret" not in " ".join(shown)
    with PARSER.context_class(PARSER) as context:
        before, after = (PARSER.make_parser(context).parse_args(list(x)) for x in (words, shown))
    assert [one.name for one in before[2]] == [one.name for one in after[2]]
    assert before[1] == after[1]


def test_every_secret_option_is_known():
    assert set(VALUES) <= set(BENCH.values())
    assert {"--user", "--proxy"} <= set(redaction.click_options(parser_of(ab_test)).values())
    assert "--time" in redaction.click_options(parser_of(calibrate)).values()


def report_of(**plan):
    return build_results(Plan(url=f"http://me:{SECRET}@127.0.0.1:1/a", **plan), Summary())


def test_documents_have_no_secrets(without_plots):
    words = published("-ku", f"me:{SECRET}", f"http://me:{SECRET}@127.0.0.1:1/a")
    more = tuple(
        url_file.parse_urls([f"http://me:{SECRET}@127.0.0.1:1/{name}" for name in "ab"], None)
    )
    report = replace(report_of(urls=more), environment=read_environment(words))
    for write in (document.write_json, tables.write_csv, html.write_html, text.write_text):
        stream = io.StringIO()
        write(report, stream)
        assert SECRET not in stream.getvalue()
        assert "me:p" not in stream.getvalue()


@pytest.mark.parametrize(
    "url",
    [
        "http://me:p/p@h/", f"http://me:{SECRET}@h:port/", f"http://me:{SECRET}@/",
        f"ftp://me:{SECRET}@h/", f"http://me:{SECRET}@[h/", f"http://me:{SECRET}@h:99999/",
        f"http://me:{SECRET}@a\u2100b/", f"http://me:{SECRET}@[zz]/", f"me:{SECRET}@h",
    ],
)  # fmt: skip
def test_url_errors_have_no_secrets(url):
    with pytest.raises(ParameterError) as raised:
        Target.parse(url)
    assert "p@" not in str(raised.value)
    assert "me" not in str(raised.value).split("URL: ")[1].split(":")[0]


def test_proxy_errors_have_no_secrets():
    with pytest.raises(ParameterError) as raised:
        Route(proxy=f"me:{SECRET}@h:port").check(Target.parse("http://h/"))
    assert "p@" not in str(raised.value)


@pytest.mark.parametrize(
    "words",
    [
        ("-H", "Authorization Bearer s3cret", "http://h/"), ("-H", "s3cret", "http://h/"),
        ("-H", "Bearer s3cret: x", "http://h/"), ("-b", "s3cret", "http://h/"),
        ("-b", "a=s3cret;b", "http://h/"), ("-F", "=s3cret", "http://h/"),
        ("-F", "s3cret", "http://h/"), ("-u", "s3cret", "http://h/"),
        ("-k", "http://me:s3cret@h/"), ("calibrate", "http://me:s3cret@h/"),
        ("report", "http://me:s3cret@h/"), ("compare", "http://me:s3cret@h/", "b"),
        ("--json", "http://me:s3cret@h/"), ("--dask", "me:s3cret@h", "http://h/"),
        ("http://me:s3cret@h/", "http://me:s3cret@g/"), ("--webbench", "-p", "a:s3cret@", "http://h/"),
    ],
)  # fmt: skip
def test_messages_have_no_secrets(words, refused):
    ran = refused(*words)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert "s3cret" not in ran.err


async def test_report_has_the_command_without_secrets(serve, abench, tmp_path):
    server = await serve()
    url = f"http://me:{SECRET}@127.0.0.1:{server.port}/"
    file = tmp_path / "r.json"
    proxy = f"127.0.0.1:{server.port}"
    ran = await abench("-n5", "-c", "1", "--proxy", f"u:pw@{proxy}", "--json", str(file), url)
    assert ran.code == 0, ran.err
    command = json.loads(file.read_text())["environment"]["command"]
    assert command[1:5] == ["-n5", "-c", "1", "--proxy"]
    assert command[5:] == [f"...@{proxy}", "--json", str(file), f"http://...@{proxy}/"]
    assert SECRET not in file.read_text() + ran.out + ran.err


def test_arguments_of_main_are_published_not_argv(monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", "--secret", "hidden"])
    seen = []
    monkeypatch.setattr(bench, "Measurement", lambda *_a, **more: seen.append(more["arguments"]))
    with pytest.raises(SystemExit):
        main(["-n", "5", "-u", "me:pw", "http://127.0.0.1:1/"])
    assert seen == [("-n", "5", "-u", "...", "http://127.0.0.1:1/")]


def test_saved_report_is_redacted_when_read(without_plots):
    """URLs of a saved report lose their userinfo, whatever program wrote it."""
    plain = document.to_document(replace(report_of(), environment=read_environment([])))
    plain["url"] = f"http://me:{SECRET}@127.0.0.1:1/a"
    plain["environment"]["command"] = ["abench", plain["url"], "-p", plain["url"]]
    stream = io.StringIO()
    for write in (document.write_json, html.write_html, text.write_text):
        write(document.from_document(plain), stream)
    assert SECRET not in stream.getvalue()


def test_command_of_a_program_is_redacted():
    assert read_environment([f"http://me:{SECRET}@h/"]).command == ("abench", "http://...@h/")

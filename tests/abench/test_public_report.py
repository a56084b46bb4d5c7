"""abench.Report: the report of a run for programs and notebooks."""

import csv
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

import abench
from abench.report import html, text
from abench.report.formats import FORMATS
from abench.stats.bottleneck import find_bottleneck

DOCUMENTS = Path(__file__).parent / "documents"


@pytest.fixture
def report():
    return abench.Report.load(DOCUMENTS / "rate.json")


def test_str_is_the_text_without_colors(report, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in str(report)
    monkeypatch.delenv("FORCE_COLOR")
    text.write_text(report, sys.stdout)
    assert str(report) == capsys.readouterr().out
    assert max(map(len, str(report).splitlines())) <= 80


def test_repr_is_one_short_line(report):
    url = report.plan.target.url
    assert repr(report).startswith(f"<Report of {url}: ")
    assert "failed, response p99" in repr(report)
    assert len(repr(report)) < 120
    closed = abench.Report.load(DOCUMENTS / "closed.json")
    assert "service p99" in repr(closed)


def test_help_says_what_each_figure_is_and_its_unit():
    for line in (
        "bytes_received: Bytes of responses, headers included. (bytes)",
        "pages_per_sec: ",
    ):
        assert f"\n    {line}" in abench.Report.__doc__
    assert "Raises ParameterError for another suffix" in " ".join(
        abench.Report.save.__doc__.split()
    )


def test_verdict_is_that_of_the_text(report):
    assert report.verdict == find_bottleneck(report)
    assert " ".join(report.verdict.sentence.split()) in " ".join(str(report).split())


def test_save_writes_the_format_of_the_suffix(report, tmp_path, without_plots):
    for suffix in FORMATS:
        report.save(tmp_path / f"run{suffix}")
    assert abench.Report.load(tmp_path / "run.json") == report
    assert (tmp_path / "run.json").read_text() == (DOCUMENTS / "rate.json").read_text()
    assert (tmp_path / "run.txt").read_text() == str(report)
    with (tmp_path / "run.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(report.series)
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")
    drawn = ET.parse(tmp_path / "run.svg").getroot()
    assert len(drawn.findall("{http://www.w3.org/2000/svg}svg")) == 4
    # The format holds one distribution: with a schedule, there are two files.
    assert "TotalCount" in (tmp_path / "run.hgrm").read_text()
    assert (tmp_path / "run.service.hgrm").exists()
    assert len(list(tmp_path.iterdir())) == len(FORMATS) + 1


def test_save_replaces_a_file_as_a_whole(report, tmp_path):
    path = tmp_path / "RUN.JSON"
    path.write_text("old")
    path.chmod(0o640)
    before = path.stat().st_ino
    report.save(os.fspath(path))
    assert json.loads(path.read_text())["schema"] == 2
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["run.pdf", "run", "run.json.gz", "-"])
def test_unknown_suffix_lists_the_known_ones(report, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(abench.ParameterError) as caught:
        report.save(name)
    listed = ".json, .csv, .hgrm, .html, .svg, .txt, .md, .xml, .prom"
    assert str(caught.value) == f"save: {name!r} does not end in one of: {listed}"
    assert list(tmp_path.iterdir()) == []


def test_file_that_cannot_be_written_is_named(report, tmp_path):
    with pytest.raises(abench.ParameterError, match=r"^save: there is no directory .*/none"):
        report.save(tmp_path / "none" / "run.json")
    with pytest.raises(abench.ParameterError, match="no such file"):
        abench.Report.load(tmp_path / "none.json")


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


@pytest.mark.slow  # its plots take half a second
def test_notebook_shows_one_element_that_needs_nothing(report):
    fragment = report._repr_html_()
    page = Elements()
    page.feed(fragment)
    assert page.tags[:2] == ["div", "style"]
    assert page.tags.count("figure") == page.tags.count("svg") == 4
    assert not {"html", "head", "body", "script", "link", "img"} & set(page.tags)
    assert "Every second" not in fragment
    # A style sheet in a notebook applies to the notebook: every rule must be within the element.
    rules = fragment.partition("<style>")[2].partition("</style>")[0]
    selectors = [rule.rpartition("}")[2] for rule in rules.split("{")[:-1]]
    for selector in filter(str.strip, selectors):
        assert ".abench" in selector or selector.strip().startswith("@media"), selector


def test_notebook_has_no_plots_without_matplotlib(report, monkeypatch, tmp_path):
    monkeypatch.setattr(html, "find_spec", lambda _: None)
    fragment = report._repr_html_()
    assert "<svg" not in fragment
    assert f"{report.succeeded:,}" in fragment
    for name in ("run.html", "run.svg"):
        with pytest.raises(abench.ParameterError, match=r"^save: .*pip install matplotlib$"):
            report.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_importing_abench_costs_nothing():
    program = (
        "import sys, abench; print([name for name in sys.modules if name.startswith('abench.')]);"
        "from abench import Plan, Report, run; print('matplotlib' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\nFalse\n"

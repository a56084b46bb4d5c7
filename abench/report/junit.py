"""The conditions of a run as test cases in the XML of JUnit, which CI systems read.

The format has no standard. What is written is valid by the two schemas in use, which Jenkins' xUnit
plugin and Ant have: the attributes and elements of both, in the order of Ant's. The first case is
the run itself, so that a run without conditions is no empty suite.
"""

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import TextIO

from abench.report.text import format_plain
from abench.stats import phrases
from abench.stats.bottleneck import find_bottleneck
from abench.stats.plan_differences import stable_target
from abench.stats.results import Results, main_latency
from abench.stats.run_outcome import describe_incident

_INVALID = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot contain, escaped or not (section 2.2)."""
_EPOCH = datetime.fromtimestamp(0, UTC)


def write_junit(report: Results, stream: TextIO) -> None:
    """Write the conditions of `report` to `stream` as one test suite."""
    incident = describe_incident(report)
    failures = sum(one.failed for one in report.thresholds)
    counts = {
        "tests": str(1 + len(report.thresholds)),
        "failures": str(failures),
        "errors": str(int(bool(incident))),
        "time": f"{report.duration_s:.3f}",
    }
    root = ET.Element("testsuites", {"name": "abench", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": _clean(stable_target(report)), **counts})
    suite.attrib |= {"skipped": "0", "timestamp": _timestamp(report), "hostname": "localhost"}
    suite.attrib |= {"id": "0", "package": "abench"}
    _add_properties(suite, report)
    _add_cases(suite, report, incident)
    ET.SubElement(suite, "system-out").text = _clean(format_plain(report))
    ET.SubElement(suite, "system-err").text = ""
    ET.indent(root)
    stream.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    stream.write(ET.tostring(root, encoding="unicode") + "\n")


def _timestamp(report: Results) -> str:
    """Return when the run started, in UTC and without an offset, as Ant's schema has it."""
    started = report.environment.started_at if report.environment else ""
    try:
        moment = datetime.fromisoformat(started).astimezone(UTC)
    except ValueError:
        moment = _EPOCH
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def _add_properties(suite: ET.Element, report: Results) -> None:
    which, latency = main_latency(report)
    found = {
        "pages_per_sec": f"{report.pages_per_sec:.3f}",
        "succeeded": str(report.succeeded),
        "failed": str(report.failed),
        **{
            f"{which}_{name}_us": str(value)
            for name, value in latency.percentiles.items()
            if value is not None
        },
    }
    listed = ET.SubElement(suite, "properties")
    for name, value in found.items():
        ET.SubElement(listed, "property", {"name": name, "value": value})


def _add_cases(suite: ET.Element, report: Results, incident: str) -> None:
    # A dot would make a package of what precedes it.
    owner = "abench." + stable_target(report).replace(".", "_")
    run = _add_case(suite, owner, "the run", report.duration_s)
    if incident:
        ET.SubElement(run, "error", {"type": "run", "message": _clean(incident)})
    found = find_bottleneck(report)
    for one in report.thresholds:
        case = _add_case(suite, owner, one.text, 0.0)
        if one.failed:
            message = _clean(phrases.describe_outcome(one)[1])
            failure = ET.SubElement(case, "failure", {"type": "threshold", "message": message})
            failure.text = _clean("\n".join((found.sentence, *found.evidence, *found.advice)))


def _add_case(suite: ET.Element, owner: str, name: str, seconds: float) -> ET.Element:
    named = {"classname": _clean(owner), "name": _clean(name), "time": f"{seconds:.3f}"}
    return ET.SubElement(suite, "testcase", named)


def _clean(text: str) -> str:
    return _INVALID.sub("\N{REPLACEMENT CHARACTER}", text)

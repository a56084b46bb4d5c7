"""Finding rules: in their order, and at a cost that does not depend on how many there are."""

import functools
import re
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.rules import matcher, netlify_redirects, site_rules
from aserve.rules.dialects import DIALECTS, NETLIFY
from aserve.rules.matcher import RuleIndex
from aserve.rules.patterns import PathPattern, parse_header_path, parse_redirect_path
from aserve.rules.site_rules import SiteRules
from tests.calls import count_calls


def index_of(text):
    return RuleIndex(netlify_redirects.parse_redirects(text).redirects, optional_slash=True)


@functools.cache
def index_of_rules(count):
    return index_of(rules(count))


def rules(count):
    """Return so many rules, of which each second one has a wildcard."""
    return "".join(
        f"/old/{number} /new/{number}\n/docs/{number}/* /manual/{number}/:splat\n"
        for number in range(count // 2)
    )


@pytest.mark.parametrize("path", ["/", "/about", "/docs/none/of/them", "/old/x/", "/a/b/c/d/e"])
def test_ten_thousand_rules_cost_an_unmatched_path_what_ten_do(path):
    few, many = index_of_rules(10), index_of_rules(10_000)
    assert count_calls(lambda: many.find(path)) == count_calls(lambda: few.find(path))
    assert sum(count_calls(lambda: many.find(path))) <= 10
    assert many.find(path) == ()


@pytest.mark.parametrize(
    "rule", ["/:lang/{}", "/*/{}", "/:a/:b/{}", "/:a/{}/*", "/:a/{}/:b/c", "/a/*/{}/:id"]
)
def test_wildcards_that_come_first_cost_no_more(rule):
    few, many = (
        index_of("".join(f"{rule.format(number)} /x\n" for number in range(count)))
        for count in (10, 2_000)
    )
    for path in ("/de/about", "/a/b/c/d", "/" + "a" * 8_000, "/a" * 4_000):
        assert count_calls(lambda: many.find(path)) == count_calls(lambda: few.find(path))  # noqa: B023
        assert many.find(path) == ()


def test_ten_thousand_rules_cost_a_matched_path_what_ten_do():
    few, many = index_of_rules(10), index_of_rules(10_000)
    for index in (few, many):
        index.find("/docs/3/a")  # the expression is compiled once, when it is first needed
    for path in ("/old/3", "/docs/3/a"):
        assert count_calls(lambda: many.find(path)) == count_calls(lambda: few.find(path))  # noqa: B023
        assert [match.rule.to for match in many.find(path)] == [
            match.rule.to for match in few.find(path)
        ]


@pytest.mark.parametrize(("count", "compiled"), [(3, 4), (60, 0)])
def test_many_rules_that_begin_alike_are_compiled_before_a_request(count, compiled, monkeypatch):
    index = index_of("".join(f"/:a/{number}* /x/:a\n" for number in range(count)))
    calls = []
    compile_pattern = re.compile
    monkeypatch.setattr(re, "compile", lambda *given: calls.append(1) or compile_pattern(*given))
    assert [match.values["a"] for match in index.find("/y/2z")] == ["y"]
    assert len(calls) == compiled


def test_rules_that_no_look_up_tells_apart_have_a_most(monkeypatch):
    """Each of them is tried for a path, so that their number decides what a request costs."""
    monkeypatch.setattr(matcher, "MAX_ALIKE", 70)
    monkeypatch.setattr(site_rules, "MAX_ALIKE", 70)
    text = "".join(f"/a{number}* /x\n" for number in range(60))
    text += "/b/* /y\n" + "".join(f"/c/a{number}* /z\n" for number in range(60))
    rules = SiteRules("", text, DIALECTS[NETLIFY])
    assert [problem.line for problem in rules.problems] == list(range(72, 122))
    assert "only 70 rules are used" in rules.problems[0].reason
    for path, target in (("/a59x", "/x"), ("/b/1", "/y"), ("/c/a9", "/z"), ("/c/b", None)):
        found = {match.rule.to for match in rules.redirects.find(path)}
        assert found == ({target} if target else set())


def test_ten_thousand_blocks_of_headers_cost_what_ten_do():
    texts = ["".join(f"/a/{number}\n X: {number}\n" for number in range(n)) for n in (10, 10_000)]
    few, many = (SiteRules(text, "", DIALECTS[NETLIFY]).headers for text in texts)
    for path in ("/b", "/a/5", "/A/5/"):
        assert count_calls(lambda: many.find(path)) == count_calls(lambda: few.find(path))  # noqa: B023
    assert many.find("/A/9999/")[0].rule.change.set == (("X", "9999"),)


PARTS = st.lists(st.sampled_from(["a", "b", ":x", "*", "a*", "*b"]), min_size=1, max_size=5)
NAMES = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=6)


class Rule(NamedTuple):
    """A rule of which only the pattern matters."""

    pattern: PathPattern


@given(st.sampled_from([parse_redirect_path, parse_header_path]), PARTS, NAMES, st.booleans())
def test_a_look_up_leaves_out_no_rule(parse, parts, names, slash):
    pattern = parse("/" + "/".join(parts))
    path = "/" + "/".join(names) + ("/" if names and slash else "")
    found = RuleIndex([Rule(pattern)], optional_slash=True).find(path)
    if pattern.regex:
        assert bool(found) == bool(re.fullmatch(pattern.regex, path))


PATHS = ["/a", "/a/b", "/a/*", "/*", "/:x", "/a/:x", "/:x/b", "/b/*", "/a/b/*", "/*/b", "/a/b*"]


@given(st.lists(st.sampled_from(PATHS), max_size=12), st.sampled_from(["/", "/a", "/a/b", "/b/a/"]))
def test_rules_are_found_in_their_order(patterns, path):
    """As one after the other would be."""
    text = "".join(f"{pattern} /to/{number}\n" for number, pattern in enumerate(patterns))
    found = [match.rule.to for match in index_of(text).find(path)]
    one_by_one = [
        f"/to/{number}"
        for number, pattern in enumerate(patterns)
        if index_of(f"{pattern} /x").find(path)
    ]
    assert found == one_by_one

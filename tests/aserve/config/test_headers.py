"""How rules of headers are written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.config.headers import parse_header_rules
from aserve.config.names import ItemError
from aserve.http.header_changes import change_headers
from aserve.http.messages import Request, Response
from aserve.http1.head_encoder import encode_head

GLOBS = st.from_regex(r"[/*][a-z/*.]{0,6}", fullmatch=True)
NAMES = st.from_regex(r"X-[A-Za-z0-9]{1,5}", fullmatch=True)
VALUES = st.from_regex(r"([!-~]([ -~]{0,8}[!-~])?)?", fullmatch=True)


@given(st.lists(st.tuples(GLOBS, NAMES, VALUES), max_size=5))
def test_a_line_says_what_a_table_does(lines):
    texts = [f"{glob} {name}: {value}" for glob, name, value in lines]
    rules = parse_header_rules(texts)
    tables = [parse_header_rules({glob: {name: value}})[0] for glob, name, value in lines]
    found = [
        (rule.match, line)
        for rule in rules
        for line in (*rule.change.set, *((name, "") for name in rule.change.unset))
    ]
    expected = [
        (rule.match, line)
        for rule in tables
        for line in (*rule.change.set, *((name, "") for name in rule.change.unset))
    ]
    assert sorted(found) == sorted(expected)


ODD = st.text(st.sampled_from("/* aX:-\r\n\té\0{}"), max_size=8)
LINES = st.one_of(ODD, st.builds("{} X-A{}:{}".format, GLOBS, st.sampled_from(["", " ", "é"]), ODD))


def is_rule(line):
    try:
        return bool(parse_header_rules([line]))
    except ItemError as error:
        return error.index != 0


@given(st.lists(LINES, max_size=3))
def test_any_text_is_a_rule_that_breaks_no_head_or_an_error_of_its_line(lines):
    wrong = [number for number, line in enumerate(lines) if not is_rule(line)]
    if wrong:
        with pytest.raises(ItemError) as caught:
            parse_header_rules(lines)
        assert caught.value.index == wrong[0]
        return
    rules = parse_header_rules(lines)
    changes = [rule.change for rule in rules]
    response = change_headers(Request("GET", "/"), Response(200), changes)
    head = encode_head(response, "now", None)
    assert head.count(b"\r\n") == 3 + len(response.headers)
    assert re.fullmatch(rb"[^\r\n]*\r\n([!-9;-~]+: [\t -~]*\r\n)+\r\n", head)


def test_each_rule_knows_where_its_lines_are():
    lines = ["/a X: 1", "/a Y: 2", "/b X: 3", "/a X: 4"]
    rules = parse_header_rules(lines, lambda number: f"line {number + 1}")
    assert [(rule.match, rule.change.source) for rule in rules] == [
        *(("/a", "line 1, line 2"), ("/b", "line 3"), ("/a", "line 4")),
    ]

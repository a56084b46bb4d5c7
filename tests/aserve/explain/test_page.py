"""The page of explain as text: complete, in two languages, and harmless whatever was requested."""

import ast
import base64
import hashlib
import io
import re
import string
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import aserve.explain
from aserve.explain.book import book_steps
from aserve.explain.chinese import CHINESE
from aserve.explain.events import Activity
from aserve.explain.page import write_page
from aserve.explain.page_texts import ABOUT, TEXTS
from aserve.explain.phrase import Phrase
from aserve.explain.render import print_trace
from aserve.explain.timeline import build_timeline
from aserve.explain.workflows import WORKFLOWS
from aserve.http1.states import Event
from aserve.transport.registry import BY_THE_BOOK, MODELS
from tests.aserve.explain.stored import NAMES, stored

TEMPLATE_MAKERS = {"Phrase", "_fixed_text", "_counted"}
VOID = {"meta", "input", "link", "br"}


def page_of(traces, idle=(), options=""):
    stream = io.StringIO()
    write_page(traces, dict(idle), options, stream)
    return stream.getvalue()


class Tree(HTMLParser):
    """Checks that each element is closed, and keeps text and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.ids = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def page():
    return page_of([stored(name) for name in NAMES])


def test_the_page_is_well_formed_and_needs_no_network(page):
    tree = Tree(page)
    assert tree.open in ([], ["html"])
    assert len(tree.ids) == len(set(tree.ids))
    for _, attributes in tree.tags:
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    assert re.findall(r"url\((?!#)|@import|//[a-z]+\.[a-z]", page) == []


def test_the_policy_allows_the_script_of_the_page_and_no_other(page):
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_every_event_is_a_list_item_with_its_call_and_its_line(page):
    texts = Tree(page).texts
    for name in NAMES:
        for event in stored(name).events:
            assert str(event.phrase) in texts
            assert event.phrase.translated(CHINESE) in texts
            if event.source:
                assert event.source in texts
    count = sum(len(stored(name).events) for name in NAMES)
    rows = [one for tag, one in Tree(page).tags if tag == "li" and "grid-row" in str(one)]
    assert len(rows) == count


def test_every_bar_and_every_step_of_the_book_is_on_the_page(page):
    tree = Tree(page)
    bars = [one for tag, one in tree.tags if tag == "i" and "grid-area" in str(one)]
    arrows = [one for tag, one in tree.tags if tag == "u"]
    timelines = [build_timeline(stored(name)) for name in NAMES]
    assert len(bars) == sum(len(timeline.spans) for timeline in timelines)
    assert len(arrows) == sum(len(timeline.arrows) for timeline in timelines)
    numbers = [int(one["data-step"]) for _, one in tree.tags if "data-step" in one]
    assert numbers == [step for name in NAMES for step in book_steps(stored(name)) if step]


def test_at_a_glance_each_vain_call_has_stripes_within_its_step():
    trace = stored("epoll")
    asked = [step for step, one in enumerate(trace.events) if one.activity is Activity.ASK]
    assert asked
    (path,) = re.findall(r'<path class="q" d="([^"]*)"', page_of([trace]))
    starts = [float(x) for x in re.findall(r"M([\d.]+) ", path)]
    assert {int(x) for x in starts} == set(asked)
    assert len(starts) > len(asked)  # a bar without gaps would look like computing


def test_the_terminal_numbers_the_steps_of_a_model_by_the_book():
    stream = io.StringIO()
    print_trace(stored("reactor"), stream, use_color=False)
    printed = stream.getvalue()
    steps = [str(step) for step in WORKFLOWS["reactor"]]
    assert re.findall(r"^ +\d\. (.*)$", printed, re.MULTILINE) == steps
    numbers = re.findall(r"^ *[\d.]+ ms  (.)  ", printed, re.MULTILINE)
    assert [int(one.strip() or 0) for one in numbers] == book_steps(stored("reactor"))


def test_the_terminal_numbers_nothing_where_steps_are_left_out():
    stream = io.StringIO()
    print_trace(replace(stored("reactor"), by_the_book=False), stream, use_color=False)
    assert str(WORKFLOWS["reactor"][0]) not in stream.getvalue()


def test_what_was_requested_cannot_become_markup():
    hostile = "/<script>alert(1)</script>\"'&amp;"
    trace = stored("epoll")
    event = replace(trace.events[0], phrase=Phrase("opens {name}", {"name": hostile}), call=hostile)
    changed = replace(trace, target=hostile, events=(event, *trace.events[1:]))
    page = page_of([changed], options=hostile)
    assert page.count("<script>") == 1
    assert Tree(page).texts.count(hostile) >= 2


def test_what_changes_nothing_for_a_model_is_said():
    texts = "".join(Tree(page_of([stored("epoll")], {"epoll": ["--threads"]}.items())).texts)
    assert "without --threads" in texts
    assert "没有使用 --threads" in texts


def templates_in_the_code():
    """Return the templates that are written out in the package."""
    for path in Path(aserve.explain.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in TEMPLATE_MAKERS:
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        yield argument.value


def fields_of(template):
    return {(name, spec) for _, name, spec, _ in string.Formatter().parse(template) if name}


def test_every_text_has_a_chinese_one():
    templates = {text for text in templates_in_the_code() if text and "{what}" not in text}
    for name in NAMES:
        templates |= {event.phrase.template for event in stored(name).events}
    templates |= {phrase.template for steps in WORKFLOWS.values() for phrase in steps}
    causes = {event.name.lower().replace("_", " ") for event in Event}
    templates |= {f"state machine: {{before}} to {{after}} ({cause})" for cause in causes}
    assert templates - set(CHINESE) == set()


def test_a_chinese_text_names_the_same_things():
    pairs = CHINESE.items()
    assert [pair for pair in pairs if fields_of(pair[0]) != fields_of(pair[1])] == []


def test_the_texts_of_the_page_are_chinese_in_chinese():
    texts = [*TEXTS.values(), *ABOUT.values()]
    assert [each for each in texts if not re.search(r"[一-鿿]", each[1])] == []


def test_every_text_about_a_model_is_about_one_that_there_is():
    names = {*MODELS, *(f"{name} --by-the-book" for name in BY_THE_BOOK)}
    assert set(ABOUT) <= names
    assert set(WORKFLOWS) <= set(MODELS)
    assert set(WORKFLOWS) >= {*BY_THE_BOOK, "proactor", "proactor-aio"}

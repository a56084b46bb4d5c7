"""Tables, the rows they are made from, and results that survive their file."""

from pathlib import Path

from benchmarks import loads, results, servers
from benchmarks.kinds import Timed
from benchmarks.loads import SCRIPTS
from benchmarks.measure import turned
from benchmarks.products import PRODUCTS
from benchmarks.results import Result
from benchmarks.tables import markdown, reasons, rows
from benchmarks.works import WORKS


def found() -> Result:
    result = Result("1k-64", "1 KB", {"load": "wrk"})
    for us in (5.0, 6.0, 7.0):
        result.add("aserve", {"us": us, "rate": 1e6 / us})
        result.add("nginx", {"us": us * 2, "rate": 5e5 / us})
    result.throw_out("h2o", "errors: 1 timeout")
    return result


def test_a_row_has_the_median_the_ratio_and_the_range() -> None:
    head, ours, nginx = rows(found())
    assert head == ["server", "µs per request", "\N{MULTIPLICATION SIGN} nginx", "requests/s"]
    assert ours == ["aserve", "6.00 (5.00 to 7.00)", "0.50", "166,670"]
    assert nginx[2] == "1.00"


def test_what_was_thrown_out_is_said() -> None:
    result = found()
    result.throw_out("nginx", "no reply came")
    assert reasons(result) == [
        "h2o is left out: errors: 1 timeout",
        "nginx is 1 round short: no reply came",
    ]


def test_a_table_in_markdown_has_its_figures_to_the_right() -> None:
    assert markdown([["a", "b"], ["c", "1"]]) == "| a | b |\n| --- | ---: |\n| c | 1 |\n"


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    found().save(tmp_path)
    assert results.read(tmp_path) == {"1k-64": found()}


def test_every_name_in_the_table_of_works_exists() -> None:
    for work in WORKS.values():
        assert {work.peer, *work.servers} <= {*servers.SERVERS, *loads.TOOLS}
        for goal in work.goals:
            assert {goal.of, *goal.against} <= set(work.servers)
        if isinstance(work.kind, Timed):
            assert (SCRIPTS / work.kind.ask.script).is_file()


def test_every_server_can_be_started_as_its_row_says(tmp_path: Path) -> None:
    for server in servers.SERVERS.values():
        assert server.product in PRODUCTS
        words = servers.command(server, Path("/site"), tmp_path, 4711)
        config = (tmp_path / "config").read_text() if server.config else ""
        assert "4711" in config or any("4711" in word for word in words)
        assert "$" not in config
        assert not any("{" in word for word in words)


def test_each_round_begins_with_another_server() -> None:
    names = ["a", "b", "c"]
    assert [turned(names, number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert sorted(turned(names, 2)) == names
    assert turned([], 1) == []

"""Measure aserve beside other static file servers, and write docs/comparison.md.

One core for the server and one for the load, interleaved rounds, medians. The main figure is
processor time of the server's processes for each request: what a request costs, whatever else
limits the rate. All of it takes about an hour; --quick checks that everything works, and saves
nothing.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import page, results
from benchmarks.kinds import Anew, Timed
from benchmarks.loads import TOOLS
from benchmarks.measure import Plan, measure
from benchmarks.products import PRODUCTS
from benchmarks.program import INTERRUPTED, prepare, progress_bar, table_console, told
from benchmarks.servers import HERE, SERVERS
from benchmarks.site import FILES, site, sizes
from benchmarks.tables import print_result
from benchmarks.work import Work
from benchmarks.works import WORKS

ROOT = HERE.parent


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a program does without options: its name, its purpose, and which works it measures."""

    program: str = "benchmarks"
    about: str = __doc__ or ""
    rounds: int = 5
    seconds: int = 3
    works: tuple[str, ...] = tuple(WORKS)


def main(defaults: Defaults) -> int:
    """Measure or only render; return the exit code."""
    options = parsed(defaults)
    if options.render:
        page.write(options.output)
        return 0
    works = [WORKS[name] for name in defaults.works]
    works = [work for work in works if wanted(work.name, work.title, options.only)]
    servers = installed(options.servers, works)
    prepare()
    try:
        measure_all(works, servers, options)
    except KeyboardInterrupt:
        told.print("Stopped; finished works are saved." if options.keep else "Stopped.")
        return INTERRUPTED
    if options.keep:
        page.write(options.output)
    return 0


def parsed(defaults: Defaults) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {defaults.program}", description=defaults.about
    )
    rounds, seconds = defaults.rounds, defaults.seconds
    parser.add_argument("--rounds", type=int, default=rounds, help=f"number of rounds ({rounds})")
    parser.add_argument(
        "--seconds", type=int, default=seconds, help=f"seconds of each load ({seconds})"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="WORK",
        help=f"the work of this name, or those with this in their title; repeatable: "
        f"{', '.join(defaults.works)}",
    )
    parser.add_argument(
        "--servers", nargs="+", metavar="NAME", help=f"only these: {', '.join(SERVERS)}"
    )
    parser.add_argument("--quick", action="store_true", help="one round of one second, not saved")
    parser.add_argument("--render", action="store_true", help="only write the page")
    parser.add_argument(
        "--output", type=Path, metavar="DIRECTORY", help="where results and page are saved (here)"
    )
    options = parser.parse_args()
    options.keep = bool(options.output) or not options.quick
    options.output = options.output or ROOT
    if options.quick:
        options.rounds = options.seconds = 1
    return options


def wanted(name: str, title: str, only: Sequence[str] | None) -> bool:
    """Return whether a work was selected."""
    return not only or any(part == name or part.lower() in title.lower() for part in only)


def installed(names: Sequence[str] | None, works: Iterable[Work]) -> list[str]:
    """Return which contenders can be measured; print how to install what is missing.

    names: of contenders or products, if not all.
    """
    used = {name for work in works for name in work.servers}
    rows = [SERVERS[name] for name in SERVERS if name in used]
    rows = [row for row in rows if not names or {row.name, row.product} & set(names)]
    tools = [name for name in TOOLS if name in used - {"abench"} and (not names or name in names)]
    products = {row.product for row in rows} | {"wrk", "ab", *tools}
    missing = [name for name in PRODUCTS if name in products and not PRODUCTS[name].version()]
    for name in missing:
        told.print(f"{name} is missing; this installs it: {PRODUCTS[name].install}")
    present = [row.name for row in rows if row.product not in missing]
    return [*present, *(name for name in TOOLS if name not in missing)]


def measure_all(works: Sequence[Work], servers: Sequence[str], options: argparse.Namespace) -> None:
    """Measure each work, print its table, and save it if requested."""
    pairs = {work.name: [name for name in work.servers if name in servers] for work in works}
    steps = sum(map(len, pairs.values())) * (options.rounds + 1)
    tables = table_console(is_terminal=sys.stdout.isatty())
    files = sizes() if any(work.folders for work in works) else FILES
    with site(files) as root, progress_bar() as progress:
        plan = Plan(root, options.rounds, options.seconds)
        task = progress.add_task("", total=steps)
        for work in filter(can_be_measured, works):

            def tell(name: str, title: str = work.title) -> None:
                progress.update(task, advance=1, description=f"{title}: {name}")

            found = measure(work, pairs[work.name], plan, tell)
            print_result(found, tables)
            if options.keep:
                found.save(options.output / results.FOLDER)


def can_be_measured(work: Work) -> bool:
    """Return whether everything that a work needs is here, and print what is not."""
    if isinstance(work.kind, Anew) and (missing := work.kind.missing()):
        told.print(f"{work.title} is left out: {missing}")
        return False
    tool = work.kind.tool if isinstance(work.kind, Timed) else "wrk"
    return tool not in PRODUCTS or PRODUCTS[tool].version() is not None


if __name__ == "__main__":
    sys.exit(main(Defaults()))

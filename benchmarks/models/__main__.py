"""Measure every I/O model of aserve under the same loads, and write docs/models.md.

One core for the server and one for the load, interleaved rounds, medians and the range. About 20
minutes; --quick looks whether everything works, and saves nothing. A row is saved as soon as it is
measured, and what could not be measured with it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import results
from benchmarks.measure import Plan, measure
from benchmarks.models import page
from benchmarks.models.tables import print_row
from benchmarks.models.works import FILES, WORKS
from benchmarks.program import INTERRUPTED, prepare, progress_bar, table_console, told
from benchmarks.results import Result
from benchmarks.servers import HERE
from benchmarks.site import site
from benchmarks.work import Work

ROOT = HERE.parent


def main() -> int:
    """Measure or only render; return the exit code."""
    options = parsed()
    if options.render:
        page.write(options.output)
        return 0
    prepare()
    works = [work for name, work in WORKS.items() if not options.only or name in options.only]
    is_stopped = False
    try:
        measure_all(works, options)
    except KeyboardInterrupt:
        told.print("Stopped; finished rows are saved." if options.keep else "Stopped.")
        is_stopped = True
    if options.keep:
        page.write(options.output)
    return INTERRUPTED if is_stopped else 0


def measure_all(works: Sequence[Work], options: argparse.Namespace) -> None:
    """Measure each row, print it, and save it if wanted."""
    pairs = [(work, selected(work, options.models)) for work in works]
    steps = sum(len(names) * (1 + (1 if work.once else options.rounds)) for work, names in pairs)
    tables = table_console(is_terminal=sys.stdout.isatty())
    with site(FILES) as root, progress_bar() as progress:
        plan = Plan(root, options.rounds, options.seconds)
        task = progress.add_task("", total=steps)
        for work, names in pairs:

            def tell(name: str, title: str = work.title) -> None:
                progress.update(task, advance=1, description=f"{title}: {name}")

            found = measure(work, names, plan, tell)
            print_row(found, tables)
            if options.keep:
                directory = options.output / page.FOLDER
                merged(results.read(directory, (work.name,)).get(work.name), found).save(directory)


def selected(work: Work, models: Sequence[str] | None) -> list[str]:
    """Return the contenders of a row whose name or model is wanted."""
    if not models:
        return list(work.servers)
    return [name for name in work.servers if {name, name.partition(",")[0]} & set(models)]


def merged(before: Result | None, found: Result) -> Result:
    """Return a row with what was found, and with what was there of contenders not measured now."""
    if not before:
        return found
    measured, there = found.conditions["servers"], before.conditions["servers"]
    for name in there.keys() - measured.keys():
        for new, old in ((found.rounds, before.rounds), (found.thrown_out, before.thrown_out)):
            if name in old:
                new[name] = old[name]
    found.conditions["servers"] = there | measured
    return found


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (3)")
    parser.add_argument("--seconds", type=int, default=1, help="seconds of most loads (1)")
    parser.add_argument(
        "--only", nargs="+", choices=WORKS, metavar="ROW", help=f"only these: {', '.join(WORKS)}"
    )
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help="only these models, or these contenders as the page names them; the others keep what "
        "was found before",
    )
    parser.add_argument("--quick", action="store_true", help="one round, not saved")
    parser.add_argument("--render", action="store_true", help="only write the page")
    parser.add_argument(
        "--output", type=Path, metavar="DIRECTORY", help="where results and page are saved (here)"
    )
    options = parser.parse_args()
    options.keep = bool(options.output) or not options.quick
    options.output = options.output or ROOT
    if options.quick:
        options.rounds = 1
    return options


if __name__ == "__main__":
    sys.exit(main())

"""Write docs/comparison.md, the pages behind it and their plots from results, without measuring."""

from collections.abc import Iterable
from pathlib import Path

from benchmarks import results, rounds, summary
from benchmarks.compression import table as compression
from benchmarks.figures import TIMES
from benchmarks.loops import page as loops
from benchmarks.results import Result
from benchmarks.tables import markdown
from benchmarks.tls import page as tls

PAGE, ROUNDS = Path("docs/comparison.md"), Path("docs/comparison-rounds.md")

INTRODUCTION = f"""\
# Compared with other servers

<!-- Written by: python -m benchmarks --render, from benchmarks/results. Do not edit it here. -->

What one request costs aserve and other servers of static files, with the same files and the same
load on the same machine.

- **Processor time** of all the server's processes for one request, in microseconds. It says what a
  request costs, whatever else limits the rate. Less is better.
- The server has one core, the load generator another. All servers run side by side and are loaded
  in turns, round after round. Figures are medians.
- Every response is compared with its file first. A load with a single error does not count.
- aserve runs with its defaults, but for an access log in that row and `--response-cache off` in the
  last one. Of other servers, the cheapest of several configurations is shown, such as nginx with
  and without sendfile.

Bold is what aserve takes. A multiple ({TIMES}) above 1 means that the other server costs more than
aserve; below it is what it takes. {summary.NOT_MEASURED} was not measured.
"""

PLOTS = {
    "compare-cpu.svg": "Processor time per request, by server",
    "compare-size.svg": "Processor time per request, by body size",
    "compare-connections.svg": "Processor time per request, by connections",
    "compare-loaders.svg": "Processor time per request of the load generators",
}

_BELOW = """\
In the plots, *floor* is a bare uvloop Protocol that writes the same bytes and looks at nothing, and
*aserve uncached* has `--response-cache off`. The last plot is about load generators.
"""

_MORE = """\
## More

- [All rounds](comparison-rounds.md): rates, latencies and ranges of each row; idle connections,
  directory pages, uploads, workers, load generators; how each server was started.
- [Compression](compression.md), [event loops](event-loops.md) and [TLS](tls-speed.md), measured in
  the same way.
- [What a request costs, and why](performance.md): where aserve's time goes.
- `make compare` repeats all of it on your machine.
"""


def write(root: Path) -> None:
    """Write all pages, and the plots of the results, beneath a directory."""
    from benchmarks import plots  # noqa: PLC0415 - matplotlib takes a second, and only this needs it

    found = results.read(root / results.FOLDER)
    plots.draw(found, root / plots.FOLDER)
    for path, text in pages(root, found).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def pages(root: Path, found: dict[str, Result]) -> dict[Path, str]:
    """Return the text of each page that is written from results, by its path beneath a root."""
    own = (*loops.NAMES, *tls.NAMES)
    written = {
        PAGE: page(found),
        ROUNDS: rounds.page({name: one for name, one in found.items() if name not in own}),
        loops.PAGE: loops.page({name: found[name] for name in loops.NAMES if name in found}),
        tls.PAGE: tls.page({name: found[name] for name in tls.NAMES if name in found}),
    }
    if (root / compression.PAGE).exists():
        before = (root / compression.PAGE).read_text()
        written[compression.PAGE] = compression.updated(before, found)
    return written


def page(found: dict[str, Result]) -> str:
    """Return the page that is read in two minutes."""
    shown = {line.work: found[line.work] for line in summary.LINES if line.work in found}
    table = summary.table(found)
    pictures = [picture(text, name) for name, text in PLOTS.items()]
    parts = [
        INTRODUCTION,
        markdown(table),
        summary.said(found),
        _where(shown),
        _BELOW,
        *pictures,
        _MORE,
    ]
    return "\n".join(part for part in parts if part)


def _where(shown: dict[str, Result]) -> str:
    """Return where, when and how long the rows of the table were measured."""
    told = []
    for (machine,), there in rounds.grouped(shown.values(), "machine"):
        dates = sorted({one.conditions["date"][:10] for one in there})
        lengths = [_range(one.conditions[name] for one in there) for name in ("rounds", "seconds")]
        when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
        told.append(f"{machine}; {when}; {lengths[0]} rounds of {lengths[1]} s.")
    return f"Measured on {' And on '.join(told)}\n" if told else ""


def _range(values: Iterable[int]) -> str:
    least, *_, most = (found := sorted(values))[0], *found
    return f"{least}" if least == most else f"{least} to {most}"


def picture(text: str, name: str) -> str:
    """Return a plot that leads to itself: on a phone it has to be enlarged."""
    return f"[![{text}](images/{name})](images/{name})\n"

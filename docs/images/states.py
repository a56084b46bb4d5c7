"""Draw docs/images/states.svg from the table of a connection's states.

python docs/images/states.py      needs dot, of Graphviz
"""

import re
import subprocess
from pathlib import Path

from aserve.http1.states import TRANSITIONS, State

PICTURE = Path(__file__).with_name("states.svg")
_NEWLINE = r"\n"  # in the language of dot
_STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #5b6673 }
.node text { font-weight: 600; fill: #16202c }
.graph > polygon { fill: #fff }
.node path, .node polygon { fill: #eaf2fd; stroke: #0b62c4 }
.node ellipse { fill: #16202c; stroke: #16202c }
.edge path { fill: none; stroke: #b45309 } .edge polygon { fill: #b45309; stroke: #b45309 }
@media (prefers-color-scheme: dark) {
text { fill: #9aa7b5 } .node text { fill: #e6ebf1 }
.graph > polygon { fill: #12171e }
.node path, .node polygon { fill: #1b2b40; stroke: #6cb1ff }
.node ellipse { fill: #e6ebf1; stroke: #e6ebf1 }
.edge path { stroke: #f0a95b } .edge polygon { fill: #f0a95b; stroke: #f0a95b } }
</style>
"""


def graph() -> str:
    """Return the table in dot's language: one arrow for each pair of states, with its events."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), to in TRANSITIONS.items():
        if state is not State.CLOSED:
            arrows.setdefault((state.name, to.name), []).append(f"\u00a0{event.name}\u00a0")
    edges = [f'{a} -> {b} [label="{_NEWLINE.join(events)}"]' for (a, b), events in arrows.items()]
    return "\n".join(
        [
            "digraph states {",
            "graph [pad=0.3, nodesep=0.5, ranksep=0.55]",
            'node [shape=box, style=rounded, fontname="Helvetica", fontsize=12, margin="0.2,0.1"]',
            'edge [fontname="Helvetica", fontsize=12, arrowsize=0.7]',
            'start [shape=circle, style=filled, label="", width=0.15]',
            "start -> IDLE",
            *edges,
            "}",
        ]
    )


def main() -> None:
    """Draw the picture."""
    command = ["dot", "-Tsvg"]
    drawn = subprocess.run(command, input=graph(), capture_output=True, text=True, check=True)
    svg = drawn.stdout[drawn.stdout.index("<svg") :]
    svg = re.sub(r" (?:fill|stroke|font-size|font-family)=\"[^\"]*\"", "", svg)
    svg = re.sub(r"<!--.*?-->\n", "", svg, flags=re.DOTALL)
    head, _, body = svg.partition(">\n")
    PICTURE.write_text(f"{head}>\n{_STYLE}{body}", encoding="utf-8")


if __name__ == "__main__":
    main()

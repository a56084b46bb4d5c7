"""Ask a server what RFC 9110, 9111 and 9112 want of it, print what it holds, note it.

    python -m tests.conformance.compare nginx

Without --write nothing is noted; with it docs/conformance-results.json is brought up to date.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.conformance.external import SERVERS, CannotMeasure, running, version
from tests.conformance.rows import PARTS, ROWS
from tests.conformance.site import build
from tests.conformance.table import MAY, MUST, OURS, SHOULD, Row, TagOf
from tests.conformance.talk import Address, ask, tags_of

RESULTS = Path(__file__).parents[2] / "docs" / "conformance-results.json"
PATIENCE = 8.0
"""Seconds without an octet after which no more is expected: nginx lingers for 5 before a close."""

# Without the rows that our own choices decide, and those that want a setting only aserve has.
COMPARED: Mapping[str, Row] = {
    row.name: row for row in ROWS if row.level is not OURS and not (row.waits or row.switched)
}


def measure(name: str) -> dict[str, str]:
    """Return the rows that a server does not hold, and what is wrong."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        Path(folder).chmod(0o755)
        with running(name, build(Path(folder))) as address, ThreadPoolExecutor(16) as pool:
            tag_of = tags_of(address, PATIENCE)
            one = partial(_faults, address=address, tag_of=tag_of)
            found = dict(zip(COMPARED, pool.map(one, COMPARED.values()), strict=True))
    return {row: "; ".join(wrong) for row, wrong in found.items() if wrong}


def _faults(row: Row, address: Address, tag_of: TagOf) -> list[str]:
    try:
        return ask(row, row.rfc, address, PATIENCE, tag_of)
    except OSError as error:
        return [f"no conversation: {error}"]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def main() -> int:
    """Exit codes: 0 measured, 1 cannot measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", choices=[*SERVERS, "all"])
    parser.add_argument("--write", action="store_true", help=f"bring {RESULTS.name} up to date")
    parser.add_argument("--quiet", action="store_true", help="do not list what fails")
    options = parser.parse_args()
    code = 0
    for name in SERVERS if options.server == "all" else [options.server]:
        try:
            failed, says = measure(name), version(name)
        except CannotMeasure as error:
            _say(str(error))
            code = 1
            continue
        _say(_table(f"{name} ({says})", failed))
        if not options.quiet:
            _say(
                "\n".join(f"  {COMPARED[row].level:6} {row}: {why}" for row, why in failed.items())
            )
        if options.write:
            _write(name, says, failed)
    return code


def _table(title: str, failed: Mapping[str, str]) -> str:
    lines = [f"{title:52}{'MUST':>12}{'SHOULD':>12}{'MAY':>12}"]
    for part, rows in {**PARTS, "In all": list(ROWS)}.items():
        asked = Counter(row.level for row in rows if row.name in COMPARED)
        held = Counter(row.level for row in rows if row.name in COMPARED.keys() - failed.keys())
        cells = (f"{held[level]}/{asked[level]}" for level in (MUST, SHOULD, MAY))
        lines.append(f"  {part:50}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def _write(name: str, says: str, failed: Mapping[str, str]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[name] = {"version": says, "rows": len(COMPARED), "failed": dict(sorted(failed.items()))}
    ordered = {key: results[key] for key in SERVERS if key in results}
    RESULTS.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())

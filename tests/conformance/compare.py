"""Run the conformance table (RFC 9110, 9111 and 9112) against a server; print the rows it passes.

    python -m tests.conformance.compare nginx

With --write, docs/conformance-results.json is updated.
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

from tests.conformance.client import Address, ask, tags_of
from tests.conformance.external import SERVERS, ServerUnavailable, running, version
from tests.conformance.rows import PARTS, ROWS
from tests.conformance.site import build
from tests.conformance.table import MAY, MUST, OURS, SHOULD, Row, TagOf

RESULTS = Path(__file__).parents[2] / "docs" / "conformance-results.json"
TIMEOUT = 8.0
"""Seconds without a byte after which no more is expected: nginx lingers for 5 before it closes."""

# Without the rows about aserve's own choices, and those that need settings of aserve.
COMPARED: Mapping[str, Row] = {
    row.name: row
    for row in ROWS
    if row.level is not OURS and not (row.awaits_timeout or row.all_methods)
}


def measure(name: str) -> dict[str, str]:
    """Return the names of the rows that a server fails, each with its errors."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        Path(directory).chmod(0o755)
        with running(name, build(Path(directory))) as address, ThreadPoolExecutor(16) as pool:
            tag_of = tags_of(address, TIMEOUT)
            run = partial(_run, address=address, tag_of=tag_of)
            errors = dict(zip(COMPARED, pool.map(run, COMPARED.values()), strict=True))
    return {row: "; ".join(details) for row, details in errors.items() if details}


def _run(row: Row, address: Address, tag_of: TagOf) -> list[str]:
    try:
        return ask(row, row.rfc, address, TIMEOUT, tag_of)
    except OSError as error:
        return [f"no connection: {error}"]


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def main() -> int:
    """Exit codes: 0 measured, 1 cannot measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", choices=[*SERVERS, "all"])
    parser.add_argument("--write", action="store_true", help=f"update {RESULTS.name}")
    parser.add_argument("--quiet", action="store_true", help="do not list the rows that fail")
    options = parser.parse_args()
    code = 0
    for name in SERVERS if options.server == "all" else [options.server]:
        try:
            failed, server_version = measure(name), version(name)
        except ServerUnavailable as error:
            _print(str(error))
            code = 1
            continue
        _print(_table(f"{name} ({server_version})", failed))
        if not options.quiet:
            _print(
                "\n".join(
                    f"  {COMPARED[row].level:6} {row}: {details}" for row, details in failed.items()
                )
            )
        if options.write:
            _write(name, server_version, failed)
    return code


def _table(title: str, failed: Mapping[str, str]) -> str:
    lines = [f"{title:52}{'MUST':>12}{'SHOULD':>12}{'MAY':>12}"]
    for part, rows in {**PARTS, "In all": list(ROWS)}.items():
        total = Counter(row.level for row in rows if row.name in COMPARED)
        passed = Counter(row.level for row in rows if row.name in COMPARED.keys() - failed.keys())
        cells = (f"{passed[level]}/{total[level]}" for level in (MUST, SHOULD, MAY))
        lines.append(f"  {part:50}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def _write(name: str, server_version: str, failed: Mapping[str, str]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[name] = {
        "version": server_version,
        "rows": len(COMPARED),
        "failed": dict(sorted(failed.items())),
    }
    ordered = {key: results[key] for key in SERVERS if key in results}
    RESULTS.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())

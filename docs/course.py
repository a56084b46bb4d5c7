"""Write what the pages of docs/learn show of programs and data: sources, diffs, outputs, tables.

python docs/course.py, or make docs-settings. A part is written between a comment such as
`<!-- diff s03_poll: written by make docs-settings -->` and `<!-- end -->`.
"""

import difflib
import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from aserve.explain.workflows import described_models

COURSE = Path(__file__).with_name("learn")
_PART = re.compile(
    r"(<!-- (\w+)(?: ([\w-]+))?: written by make docs-settings -->\n)(?:.*?\n)??(<!-- end -->)",
    re.DOTALL,
)
_WORDS = {
    "en": {
        "costs": ("server", "what it is", "lines", "system calls for one request"),
        "models": ("model", "books say", "aserve does", "why"),
        "speeds": ("server", "pages/s", "lowest and highest", "failed"),
        "steps": ("step", "books say", "from the output of `aserve explain`"),
        "varies": "not counted: ",
    },
    "zh": {
        "costs": ("服务器", "是什么", "行数", "一个请求的系统调用"),
        "models": ("模型", "书上说", "aserve 的做法", "原因"),
        "speeds": ("服务器", "页/秒", "最低和最高", "失败"),
        "steps": ("步骤", "书上说", "摘自 `aserve explain` 的输出"),
        "varies": "不计次数：",  # noqa: RUF001  (Chinese punctuation)
    },
}


def main() -> int:
    """Write every page."""
    for page in pages():
        page.write_text(updated(page), encoding="utf-8")
    return 0


def pages() -> list[Path]:
    """Return the pages of the course, in both languages."""
    return sorted(COURSE.glob("*.md"))


def updated(page: Path) -> str:
    """Return the text of a page with every part as the programs and the data have it now."""
    language = "zh" if page.name.endswith(".zh.md") else "en"

    def part(found: re.Match[str]) -> str:
        begin, kind, name, end = found.groups()
        return f"{begin}\n{_PARTS[kind](name, language)}\n\n{end}"

    return _PART.sub(part, page.read_text(encoding="utf-8"))


def servers() -> list[dict[str, Any]]:
    """Return what servers.toml says of each server."""
    return tomllib.loads((COURSE / "servers.toml").read_text(encoding="utf-8"))["server"]


def measured() -> dict[str, Any]:
    """Return what docs/learn/measure.py has found."""
    return tomllib.loads((COURSE / "measured.toml").read_text(encoding="utf-8"))


def models() -> list[dict[str, Any]]:
    """Return what by_the_book.toml says of each model."""
    return described_models()


def source(name: str, _language: str) -> str:
    """Return a program as a block of code."""
    return _code("python", _read(name))


def diff(name: str, _language: str) -> str:
    """Return what a server has that the one before it has not."""
    base = next(server["base"] for server in servers() if server["name"] == name)
    old, new = (_read(one).splitlines() for one in (base, name))
    lines = difflib.unified_diff(old, new, f"{base}.py", f"{name}.py", n=2, lineterm="")
    return _code("diff", "\n".join(lines))


def output(name: str, _language: str) -> str:
    """Return what a program prints."""
    return _code("", f"$ python docs/learn/{name}.py\n{_printed(name)}")


@functools.cache
def _printed(name: str) -> str:
    command = [sys.executable, COURSE / f"{name}.py"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def costs(_name: str, language: str) -> str:
    """Return the table of the servers."""
    words = _WORDS[language]
    rows = [words["costs"]]
    for server in servers():
        calls = ", ".join(f"{call} {count}" for call, count in server["calls"].items())
        if varies := ", ".join(server.get("varies", ())):
            calls += f"<br>{words['varies']}{varies}"
        name = f"[{server['name']}.py]({server['name']}.py)"
        lines = len(_read(server["name"]).splitlines())
        rows.append((name, server[language], str(lines), calls))
    return _table(rows)


def speeds(_name: str, language: str) -> str:
    """Return the table of what the servers reach."""
    rows = [_WORDS[language]["speeds"]]
    for name, found in measured()["servers"].items():
        spread = f"{found['lowest']:,}-{found['highest']:,}"
        rows.append((f"{name}.py", f"{found['pages_per_s']:,}", spread, f"{found['failed']:,}"))
    return _table(rows)


def pools(_name: str, _language: str) -> str:
    """Return what pools.py has printed on a quiet machine."""
    return _code("", f"$ python docs/learn/pools.py\n{measured()['pools']['output']}")


def book(_name: str, language: str) -> str:
    """Return the table of what books say and aserve does."""
    rows = [_WORDS[language]["models"]]
    for model in models():
        texts = (model[key][language] for key in ("says", "does", "why"))
        rows.append((f"`{model['name']}`", *texts))
    return _table(rows)


def steps(name: str, language: str) -> str:
    """Return the table of the numbered steps of a model."""
    rows = [_WORDS[language]["steps"]]
    found = next(model for model in models() if model["name"] == name)
    for number, step in enumerate(found["step"], 1):
        lines = step["trace"] or [step.get("waits", "-")]
        trace = "<br>".join(line.replace("|", r"\|") for line in lines)
        rows.append((str(number), step[language], trace))
    return _table(rows)


def _read(name: str) -> str:
    return (COURSE / f"{name}.py").read_text(encoding="utf-8")


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def _table(rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


_PARTS = {
    "source": source,
    "diff": diff,
    "output": output,
    "costs": costs,
    "speeds": speeds,
    "pools": pools,
    "book": book,
    "steps": steps,
}

if __name__ == "__main__":
    sys.exit(main())

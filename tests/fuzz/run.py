"""python -m tests.fuzz.run SECONDS: fuzz every property, with atheris if it is installed.

python -m tests.fuzz.run NAME HEX: run one input again, as printed after a failure.
"""

import importlib.util
import math
import sys
import time
import traceback
from collections.abc import Callable, Hashable
from random import Random
from tempfile import gettempdir

from tests.fuzz.properties import PROPERTIES
from tests.fuzz.streams import mutate

Print = Callable[[str], None]


def print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run_input(name: str, data: bytes, output: Print) -> Hashable:
    """Run one input; after a failure, print how to run it again."""
    try:
        return PROPERTIES[name][0](data)
    except BaseException:
        output(f"{name} fails for {data!r}")
        output(f"again: python -m tests.fuzz.run {name} {data.hex() or '-'}")
        raise


def fuzz(seconds: float, seed: int, output: Print, *, rounds: float = math.inf) -> int:
    """Mutate the corpus, keep inputs with new outcomes; return the number of inputs run.

    Ends after this many seconds or rounds; a round runs every property once.
    """
    random = Random(seed)
    corpus = {name: list(seeds) for name, (_, seeds) in PROPERTIES.items()}
    seen: dict[str, set[Hashable]] = {name: set() for name in PROPERTIES}
    for name, inputs in corpus.items():
        seen[name] = {run_input(name, data, output) for data in inputs}
    tried = 0
    now = reported = time.monotonic()
    end = now + seconds
    while (now := time.monotonic()) < end and tried < rounds * len(PROPERTIES):
        for name, inputs in corpus.items():
            data = b"".join(random.choices(inputs, k=random.choice((1, 1, 2))))
            data = mutate(data[:4_096], random)
            kind = run_input(name, data, output)
            if kind not in seen[name]:
                seen[name].add(kind)
                inputs.append(data)
            tried += 1
        if now - reported > 5:
            reported = now
            kinds = ", ".join(f"{name} {len(kinds)}" for name, kinds in seen.items())
            output(f"{tried:,} inputs, {end - now:.0f} s left; kinds of outcome: {kinds}")
    return tried


def fuzz_by_coverage(seconds: int) -> None:
    """Let atheris search for inputs that reach new code. It ends the process."""
    import atheris  # noqa: PLC0415 - optional

    names = list(PROPERTIES)

    def test_one_input(data: bytes) -> None:
        run_input(names[data[0] % len(names)] if data else names[0], data[1:], print_line)

    atheris.instrument_all()
    options = [f"-max_total_time={seconds}", "-max_len=4096", f"-artifact_prefix={gettempdir()}/"]
    atheris.Setup([sys.argv[0], *options], test_one_input)
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    if len(arguments) == 2:
        name, text = arguments
        outcome = run_input(name, bytes.fromhex(text.strip("-")), print_line)
        print_line(f"holds: {outcome}")
    elif importlib.util.find_spec("atheris"):
        fuzz_by_coverage(int(arguments[0]))
    else:
        seed = time.time_ns()
        print_line(f"atheris is not installed: random mutations, seed {seed}")
        try:
            count = fuzz(float(arguments[0]), seed, print_line)
            print_line(f"{count:,} inputs, and every property holds")
        except Exception:  # noqa: BLE001 - any exception is a finding
            traceback.print_exc()
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""python -m tests.fuzz.run SECONDS: try to break every property, by atheris where it is installed.

python -m tests.fuzz.run NAME HEX: try one input again, the one that was printed.
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
from tests.fuzz.streams import mutated

Say = Callable[[str], None]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def attempt(name: str, octets: bytes, say: Say) -> Hashable:
    """Try one input; say how to do it again where that fails."""
    try:
        return PROPERTIES[name][0](octets)
    except BaseException:
        say(f"{name} fails for {octets!r}")
        say(f"again: python -m tests.fuzz.run {name} {octets.hex() or '-'}")
        raise


def fuzz(seconds: float, seed: int, say: Say, *, rounds: float = math.inf) -> int:
    """Mutate what is known, keep what shows something new; return how many inputs were tried.

    It ends after so many seconds, or rounds, of which each tries every property once.
    """
    random = Random(seed)
    corpus = {name: list(seeds) for name, (_, seeds) in PROPERTIES.items()}
    seen: dict[str, set[Hashable]] = {name: set() for name in PROPERTIES}
    for name, inputs in corpus.items():
        seen[name] = {attempt(name, octets, say) for octets in inputs}
    tried = 0
    now = reported = time.monotonic()
    end = now + seconds
    while (now := time.monotonic()) < end and tried < rounds * len(PROPERTIES):
        for name, inputs in corpus.items():
            octets = b"".join(random.choices(inputs, k=random.choice((1, 1, 2))))
            octets = mutated(octets[:4_096], random)
            kind = attempt(name, octets, say)
            if kind not in seen[name]:
                seen[name].add(kind)
                inputs.append(octets)
            tried += 1
        if now - reported > 5:
            reported = now
            kinds = ", ".join(f"{name} {len(kinds)}" for name, kinds in seen.items())
            say(f"{tried:,} inputs, {end - now:.0f} s left; kinds of outcome: {kinds}")
    return tried


def fuzz_by_coverage(seconds: int) -> None:
    """Let atheris look for inputs that reach new code. It ends the process."""
    import atheris  # noqa: PLC0415 - optional

    names = list(PROPERTIES)

    def one_input(octets: bytes) -> None:
        attempt(names[octets[0] % len(names)] if octets else names[0], octets[1:], say)

    atheris.instrument_all()
    options = [f"-max_total_time={seconds}", "-max_len=4096", f"-artifact_prefix={gettempdir()}/"]
    atheris.Setup([sys.argv[0], *options], one_input)
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    if len(arguments) == 2:
        name, octets = arguments
        say(f"holds: {attempt(name, bytes.fromhex(octets.strip('-')), say)}")
    elif importlib.util.find_spec("atheris"):
        fuzz_by_coverage(int(arguments[0]))
    else:
        seed = time.time_ns()
        say(f"atheris is not installed: random mutations, seed {seed}")
        try:
            say(f"{fuzz(float(arguments[0]), seed, say):,} inputs, and every property holds")
        except Exception:  # noqa: BLE001 - whatever a property lets through is what is looked for
            traceback.print_exc()
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

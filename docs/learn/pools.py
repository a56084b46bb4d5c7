"""How many threads: the time of 24 tasks that compute, and of 24 that wait.

python docs/learn/pools.py [STEPS [SECONDS]]: what one task computes, and how long one waits.
"""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

TASKS = 24
CORES = len(os.sched_getaffinity(0))


def compute(steps: int) -> int:
    """Use the processor and nothing else."""
    return sum(step * step for step in range(steps))


def seconds(pool: Executor, task: Callable[[float], object], size: float) -> float:
    """Return how long the pool takes for all tasks."""
    with pool:
        list(pool.map(abs, range(TASKS)))  # start its workers first
        begin = time.perf_counter()
        list(pool.map(task, [size] * TASKS))
        return time.perf_counter() - begin


def main() -> None:
    """Print a row for each size of a pool."""
    steps = int(sys.argv[1]) if sys.argv[1:] else 1_000_000
    wait = float(sys.argv[2]) if sys.argv[2:] else 0.05
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"{CORES} cores, Python {'with' if has_lock else 'without'} an interpreter lock")
    print(f"{'workers':>8} {'threads compute':>16} {'processes compute':>18} {'threads wait':>13}")
    for workers in sorted({1, 2, CORES, CORES + 1, 8, 24}):
        times = (
            seconds(ThreadPoolExecutor(workers), compute, steps),
            seconds(ProcessPoolExecutor(workers), compute, steps),
            seconds(ThreadPoolExecutor(workers), time.sleep, wait),
        )
        print("{:8} {:14.2f} s {:16.2f} s {:11.2f} s".format(workers, *times))


if __name__ == "__main__":
    main()

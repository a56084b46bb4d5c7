"""When the next request starts. Arithmetic only: time goes in as an argument, never a clock."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Each connection asks again as soon as it has its answer: webbench's way, and wrk's.

    The server sets the pace, so a closed loop finds the most pages per second. A connection that
    cannot be opened has no server to pace it, and waits between attempts instead.
    """

    first_pause_s: float = 0.01
    longest_pause_s: float = 1.0

    def pause(self, misses: int) -> float:
        """Return the seconds to wait after `misses` (1 or more) failed attempts in a row."""
        doublings = min(misses - 1, 30)  # 2**30 is past every limit and still exact
        return min(self.first_pause_s * 2.0**doublings, self.longest_pause_s)

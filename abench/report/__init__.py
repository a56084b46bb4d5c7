"""How the figures of a run are shown, each form in a module of its own."""

from abench.report.derived import Latency, Report, Threshold, derive

__all__ = ["Latency", "Report", "Threshold", "derive"]

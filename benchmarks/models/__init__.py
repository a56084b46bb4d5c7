"""Every I/O model of aserve under the same loads: `python -m benchmarks.models`, or make models."""

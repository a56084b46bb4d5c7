"""Small servers with one limit each, and whether abench names it: python -m benchmarks.lab."""

"""aserve measured beside other static file servers: `make compare`, or python -m benchmarks.

works.py lists what is measured, and servers.py the servers: each is one row. measure.py runs
interleaved rounds, results.py stores every figure, page.py and plots.py show them.
"""

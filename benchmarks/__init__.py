"""aserve measured beside other static file servers: `make compare`, or python -m benchmarks.

works.py says what is measured and servers.py beside whom: a work or a peer is one row. measure.py
does it in interleaved rounds, results.py keeps every figure, page.py and plots.py show them.
"""

"""The conformance table: HTTP/1.1 for an origin file server, clause by clause.

Written from RFC 9110, 9111 and 9112, not from aserve's code. The rows are in cases/ and use the
files that site.py creates. test_rows.py asks all of them over a socket in every run; the other
tests ask a cross-section, and in `make test-all` all rows, at other levels. compare.py runs them
against other servers; mutations.py shows that they are compared; document.py writes
docs/conformance.md.
"""

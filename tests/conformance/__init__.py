"""The conformance table: HTTP/1.1 for an origin file server, clause by clause.

Written from RFC 9110, 9111 and 9112, not from aserve's code. The rows are in cases/ and use the
files that site.py creates. test_pure, test_connection and test_socket run every row against aserve
at three levels; compare.py runs them against other servers; document.py writes docs/conformance.md.
"""

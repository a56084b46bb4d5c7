"""The conformance table: HTTP/1.1 for an origin file server, clause by clause.

Written from RFC 9110, 9111 and 9112 and not from our code. The rows are in cases/; they speak of
the tree that site.py builds. test_pure, test_connection and test_socket ask every row of aserve on
three levels; compare.py asks them of other servers; document.py writes docs/conformance.md.
"""

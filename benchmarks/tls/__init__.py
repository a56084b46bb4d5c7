"""What TLS costs a server, aserve's beside that of other servers."""

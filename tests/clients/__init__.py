"""aserve in the hands of clients that others wrote."""

"""aserve on several event loops and on several versions of Python."""

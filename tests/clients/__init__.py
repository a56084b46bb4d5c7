"""aserve with HTTP clients from other projects."""

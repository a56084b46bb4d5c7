"""Counters, histograms, and the results derived from them."""

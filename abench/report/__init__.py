"""The forms of a report: text, JSON, CSV, HdrHistogram, HTML with plots."""

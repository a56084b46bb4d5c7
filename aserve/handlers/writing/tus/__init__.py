"""Uploads that can be interrupted and go on: tus 1.0.0, a protocol of its own above HTTP."""

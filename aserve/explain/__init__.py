"""Trace one real request, step by step: what each thread did, and what the kernel did for it."""

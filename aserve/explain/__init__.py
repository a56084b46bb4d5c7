"""One real request, told step by step: what each thread did, and what the kernel did for it."""

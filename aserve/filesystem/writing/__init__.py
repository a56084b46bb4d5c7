"""Writing to a site: files that appear whole or not at all, beneath the root and nowhere else."""

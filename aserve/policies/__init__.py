"""Policies: what applies to every request or response of a site, one small file each."""

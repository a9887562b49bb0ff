"""Patterns of the rules language: RE2, its prefilter, and what is refused and why."""

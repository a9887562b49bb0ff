"""Patterns of the rules language: RE2, its prefilter, and the checks on patterns."""

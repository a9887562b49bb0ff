"""Parses the bytes of a rules file into a document with source locations."""

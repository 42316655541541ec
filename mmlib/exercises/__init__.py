"""Checkers for the exercises, one file a notebook: each runs a reader's function and names the mistake it finds."""

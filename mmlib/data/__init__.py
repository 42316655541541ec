"""Data sets: each one made from installed packages, or from a folder of your own."""

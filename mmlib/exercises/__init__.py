"""The exercises, one file a notebook: each is an `Exercise`, data that one class runs (core.py), and names mistakes.

To add one, write a right answer and an `Exercise` into the notebook's file, and wrong answers into tests/answers_*.py.
"""

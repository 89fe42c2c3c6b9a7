"""The error that ends a run with one line for the user."""

from __future__ import annotations


class RunError(Exception):
    """What is wrong, where, and what to do, in one line."""

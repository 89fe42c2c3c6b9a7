"""The error that ends a run with one line for the user."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


class RunError(Exception):
    """What is wrong, where, and what to do, in one line."""


def unusable(package: str, install: str, error: ImportError) -> RunError:
    """A package that is not installed, or cannot be imported: another version than the one that was tested, a part missing."""
    try:
        found = version(package)
    except PackageNotFoundError:
        return RunError(f"{package} is not installed: {install}")
    return RunError(f"{package} {found} cannot be used here ({error}): {install}")

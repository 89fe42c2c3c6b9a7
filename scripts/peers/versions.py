"""Versions of the packages behind an export, for its row in the report, and whether an earlier export was made with others."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from safetensors import safe_open


def versions_of(packages: list[str]) -> dict[str, str]:
    """The installed version of each of the packages that is installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def made_before(path: Path, versions: dict[str, str], read) -> bool:
    """Whether the file was written with these versions; `read` gets them from its metadata. A file of other versions is stale."""
    if not path.exists():
        return False
    with safe_open(path, "np") as file:
        return read(file.metadata() or {}) == versions

"""The list of architectures that are compared, filled by the modules beside this one."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Architecture:
    """A network by name: `build` makes it with random weights, and inputs for it, from the global random state."""

    name: str
    family: str
    build: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]


ARCHITECTURES: dict[str, Architecture] = {}


def architecture(family: str, name: str | None = None):
    """Registers a function that builds a network and its inputs; its name, with hyphens, is the architecture's."""

    def register(build):
        key = name or build.__name__.replace("_", "-")
        assert key not in ARCHITECTURES, key
        ARCHITECTURES[key] = Architecture(key, family, build)
        return build

    return register

"""The list of architectures that are compared, filled by the modules beside this one."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Architecture:
    """A network by name: `build` makes it with random weights, and inputs for it, from the global random state.

    `undetached`: the network calls detach, which leaves no trace in an export; PyTorch's gradients are taken without it.
    """

    name: str
    family: str
    build: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]
    undetached: bool = False


ARCHITECTURES: dict[str, Architecture] = {}


def architecture(family: str, name: str | None = None, undetached: bool = False):
    """Registers a function that builds a network and its inputs; its name, with hyphens, is the architecture's."""

    def register(build):
        key = name or build.__name__.replace("_", "-")
        assert key not in ARCHITECTURES, key
        ARCHITECTURES[key] = Architecture(key, family, build, undetached)
        return build

    return register

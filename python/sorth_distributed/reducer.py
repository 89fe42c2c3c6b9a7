"""Sums over the processes that train together."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from .contract import Array
from .errors import RunError, unusable


class Pending(Protocol):
    """A sum under way."""

    def wait(self) -> None:
        """Returns when the array holds the sum."""


class _Done:
    def wait(self) -> None:
        """Nothing is under way."""


class Reducer(Protocol):
    """How processes exchange arrays. Arrays on the host; all processes call the same methods in the same order."""

    rank: int
    size: int

    def sum(self, array: Array, half: bool = False) -> Pending:
        """Begins to replace the array by its sum over all processes; `half` sends bfloat16."""

    def share(self, array: Array, source: int) -> Pending:
        """Begins to replace the array by that of a process."""

    def close(self) -> None:
        """Ends the exchange."""


class Alone:
    """One process."""

    rank = 0
    size = 1

    def sum(self, array: Array, half: bool = False) -> Pending:
        """The array is its own sum."""
        return _Done()

    def share(self, array: Array, source: int) -> Pending:
        """The array is the source's."""
        return _Done()

    def close(self) -> None:
        """Nothing to end."""


class _Work:
    def __init__(self, work: Any, own: Any, sent: Any) -> None:
        self._work, self._own, self._sent = work, own, sent

    def wait(self) -> None:
        try:
            self._work.wait()
        except RuntimeError as error:
            raise RunError("another process of this run has ended: its own message says why") from error
        if self._sent.data_ptr() != self._own.data_ptr():
            self._own.copy_(self._sent)


class TorchReducer:
    """The processes of torchrun, over gloo, or over NCCL where each has a GPU."""

    def __init__(self, backend: str = "gloo") -> None:
        try:
            import torch
        except ImportError as error:
            raise unusable("torch", "pip install torch, which several processes need", error) from error
        # Stubs do not export all that PyTorch documents.
        distributed: Any = torch.distributed
        self._torch, self._distributed = torch, distributed
        if not distributed.is_initialized():
            store, rank, size = next(distributed.rendezvous("env://"))
            # The store outlives a restart, and with it the addresses of dead processes. Several agents count restarts differently.
            if os.environ.get("GROUP_WORLD_SIZE") == "1":
                store = distributed.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
            distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self._device = torch.device("cuda", local) if backend == "nccl" else torch.device("cpu")

    def sum(self, array: Array, half: bool = False) -> Pending:
        """All-reduces in place, asynchronously."""
        own = self._torch.from_numpy(array.reshape(-1))
        sent = own.to(self._device, self._torch.bfloat16 if half else own.dtype)
        return _Work(self._distributed.all_reduce(sent, async_op=True), own, sent)

    def share(self, array: Array, source: int) -> Pending:
        """Broadcasts in place, asynchronously."""
        own = self._torch.from_numpy(array.reshape(-1))
        sent = own.to(self._device)
        return _Work(self._distributed.broadcast(sent, source, async_op=True), own, sent)

    def close(self) -> None:
        """Leaves the group."""
        if self._distributed.is_initialized():
            self._distributed.destroy_process_group()


def reducer_of_environment(backend: str) -> Reducer:
    """The reducer for the processes that torchrun started; `Alone` under plain Python."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Alone()
    return TorchReducer("nccl" if backend == "cuda" and _has_gpus() else "gloo")


def _has_gpus() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def summed(reducer: Reducer, numbers: ArrayLike) -> Array:
    """The sums of numbers over all processes."""
    array: Array = np.array(numbers, np.float64, order="C")
    reducer.sum(array).wait()
    return array


def of_each(reducer: Reducer, number: float) -> Array:
    """The number that each process gives, by rank."""
    own = np.zeros(reducer.size)
    own[reducer.rank] = number
    return summed(reducer, own)

"""The graphs of a step as sessions of ONNX Runtime whose inputs and outputs are bound to buffers once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from .contract import DTYPES, Array, Contract, Reduction, Stage, State, size_of
from .errors import RunError
from .reducer import Pending, Reducer

BUCKET_BYTES = 25 * 2**20
"""Gradients travel in flat pieces of this size, each while the next one is copied."""
_ALIGNED = 64


def _dtype_of(text: str) -> np.dtype[Any]:
    """NumPy's type for `tensor(float)`."""
    return np.dtype(DTYPES[text.removeprefix("tensor(").removesuffix(")")])


class Buffer:
    """Memory that sessions read and write: on the host, or on a GPU."""

    def __init__(self, array: Array, device: str) -> None:
        self._array = array
        self._device = device
        self.value = ort.OrtValue.ortvalue_from_numpy(array, device, _device_id() if device == "cuda" else 0)

    @staticmethod
    def empty(shape: Sequence[int], dtype: np.dtype[Any], device: str) -> Buffer:
        """Zeros."""
        return Buffer(np.zeros(shape, dtype), device)

    def write(self, array: Array) -> None:
        """Replaces the numbers."""
        if self._device == "cpu":
            self._array[...] = np.reshape(array, self._array.shape)
        else:
            self.value.update_inplace(np.ascontiguousarray(array, self._array.dtype).reshape(self._array.shape))

    def read(self) -> Array:
        """The numbers: on the host the memory itself, from a GPU a copy."""
        if self._device == "cpu":
            return self._array
        copy: Array = self.value.numpy()
        return copy


def fill(buffers: Mapping[str, Buffer], fed: Mapping[str, Array]) -> None:
    """Writes arrays into the buffers that there are."""
    for name in fed.keys() & buffers.keys():
        buffers[name].write(fed[name])


def _device_id() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def device_of(contract: Contract) -> str:
    """Where graphs run. Raises RunError for a GPU that this ONNX Runtime does not offer."""
    if contract.backend != "cuda":
        return "cpu"
    if "CUDAExecutionProvider" in ort.get_available_providers():
        return "cuda"
    raise RunError(
        "the run was distributed with --backend cuda, and this ONNX Runtime has no CUDA: pip install onnxruntime-gpu, "
        "or distribute it with --backend cpu"
    )


class Graph:
    """A session, and the types of its inputs and outputs."""

    def __init__(self, path: str, contract: Contract, device: str) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.enable_mem_pattern = False
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        options.intra_op_num_threads = contract.threads or max(1, (os.cpu_count() or 1) // here)
        providers: list[Any] = ["CPUExecutionProvider"]
        if device == "cuda":
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": _device_id()}))
        try:
            self.session = ort.InferenceSession(path, options, providers)
        except Exception as error:
            raise RunError(f'ONNX Runtime does not open "{path}": {" ".join(str(error).split())[:300]}') from error
        self.inputs = {one.name: (tuple(one.shape), _dtype_of(one.type)) for one in self.session.get_inputs()}
        self.outputs = {one.name: (tuple(one.shape), _dtype_of(one.type)) for one in self.session.get_outputs()}

    def bind(self, inputs: Mapping[str, Buffer], outputs: Mapping[str, Buffer]) -> Bound:
        """The session with its memory."""
        binding = self.session.io_binding()
        for name, buffer in inputs.items():
            binding.bind_ortvalue_input(name, buffer.value)
        for name, buffer in outputs.items():
            binding.bind_ortvalue_output(name, buffer.value)
        return Bound(self.session, binding, (dict(inputs), dict(outputs)))


@dataclass(frozen=True)
class Bound:
    """A session that reads and writes buffers."""

    session: ort.InferenceSession
    binding: Any
    kept: Any

    def run(self) -> None:
        """One run."""
        try:
            self.binding.synchronize_inputs()
            self.session.run_with_iobinding(self.binding)
            self.binding.synchronize_outputs()
        except Exception as error:
            raise RunError(f"a graph failed: {' '.join(str(error).split())[:300]}") from error


class MeasuringGraph:
    """A graph that reads samples beside the state of a run, outside of its steps."""

    def __init__(self, contract: Contract, raw: Mapping[str, Any], device: str) -> None:
        """`raw`: its file, and the state that it reads."""
        graph, self._state = Graph(contract.file(raw["file"]), contract, device), raw["state"]
        self._graph = graph
        self._inputs = {name: Buffer.empty(*one, device) for name, one in graph.inputs.items() if name not in self._state}
        self.outputs = {name: Buffer.empty(*one, "cpu") for name, one in graph.outputs.items()}

    def over(self, state: Mapping[str, Buffer]) -> Callable[[Mapping[str, Array]], None]:
        """What runs the graph over samples, with this state."""
        bound = self._graph.bind({**self._inputs, **{name: state[name] for name in self._state}}, self.outputs)

        def run(fed: Mapping[str, Array]) -> None:
            fill(self._inputs, fed)
            bound.run()

        return run


class Bucket:
    """Values that are summed in one piece."""

    def __init__(self, entries: Sequence[tuple[Reduction, tuple[int, ...]]], dtype: np.dtype[Any], copies: bool) -> None:
        self.op, self._type = entries[0][0].op, entries[0][0].type
        step = _ALIGNED // dtype.itemsize
        lengths = [-(-size_of(shape) // step) * step for _, shape in entries]
        starts = np.cumsum([0, *lengths])
        self.flat: Array = np.zeros(int(starts[-1]), dtype)
        self.scratch: Array = np.zeros_like(self.flat) if copies else self.flat
        self.parts = {one.name: (one.result, int(start), shape) for (one, shape), start in zip(entries, starts)}

    def finish(self, shards: int) -> None:
        """Makes the result of the sum."""
        if self.op == "mean" and shards > 1:
            self.flat *= self.flat.dtype.type(1 / shards)
        if self._type == "float16":
            # What float16 rounds to infinity: all processes leave out the updates that one process would.
            self.flat[np.abs(self.flat) >= 65520] = np.inf

    def view(self, name: str, of: Array) -> Array:
        """The place of a value in the flat array."""
        _, start, shape = self.parts[name]
        return of[start : start + size_of(shape)].reshape(shape)


def buckets_of(stage: Stage, graph: Graph, gradients: Iterable[str], copies: bool) -> list[tuple[Bucket, bool]]:
    """The buckets of a stage, each with whether it holds gradients, in the order in which they are summed."""
    known = set(gradients)
    groups: dict[tuple[Any, ...], list[tuple[Reduction, tuple[int, ...]]]] = {}
    sizes: dict[tuple[Any, ...], int] = {}
    counts: dict[tuple[Any, ...], int] = {}
    for one in stage.reduce:
        shape, dtype = graph.outputs[one.name]
        kind = (one.name in known, dtype, one.op, one.type)
        size = size_of(shape) * dtype.itemsize
        if sizes.get(kind, 0) + size > BUCKET_BYTES and sizes.get(kind, 0) > 0:
            counts[kind] = counts.get(kind, 0) + 1
            sizes[kind] = 0
        sizes[kind] = sizes.get(kind, 0) + size
        groups.setdefault((*kind, counts.get(kind, 0)), []).append((one, shape))
    return [(Bucket(entries, kind[1], copies), bool(kind[0])) for kind, entries in groups.items()]


class StepGraphs:
    """The stages and the update of a step, for the shards of one process, and the state of the run."""

    def __init__(self, contract: Contract, reducer: Reducer, *, half: bool = False, sharded: bool = False) -> None:
        """`half` reduces gradients in bfloat16; `sharded`: this process updates its share of the parameters alone."""
        self.contract, self._reducer, self._half = contract, reducer, half
        self.device = device_of(contract)
        self.shards = list(range(reducer.rank, contract.shards, reducer.size))
        parts = contract.raw["update"]["parts"]
        self._sharded = sharded and reducer.size > 1
        if self._sharded and not parts:
            raise RunError(
                "the optimizer of this run reads the state of all parameters together (clipping after accumulation, say): "
                "leave --shard-optimizer out"
            )
        self.owners: dict[str, int] = {}
        """The process that updates each parameter; empty where all update all."""
        if self._sharded:
            self.owners = {name: i % reducer.size for i, part in enumerate(parts) for name in part["parameters"]}
        self._turn = 0
        self._states: list[dict[str, Buffer]] = [self._empty_state(), self._empty_state()]
        self.values: dict[str, Buffer] = {}
        """Scalars, the same on all shards, and sums."""
        self.feeds: list[dict[str, Buffer]] = [{} for _ in self.shards]
        """Samples and random numbers of each shard of this process, and values that stages hand on."""
        self._stages = [self._stage(stage) for stage in contract.stages]
        self._update = self._bound_update()

    def _empty_state(self) -> dict[str, Buffer]:
        return {
            state.input: Buffer.empty(state.shape, np.dtype(DTYPES[state.type]), self.device) for state in self._kept_states()
        }

    def _kept_states(self) -> list[State]:
        """The state that this process holds."""
        other = {
            slot.input
            for one in self.contract.parameters
            if self.owners.get(one.name, self._reducer.rank) != self._reducer.rank
            for slot in one.slots.values()
        }
        return [state for state in self.contract.states if state.input not in other]

    @property
    def state(self) -> Mapping[str, Buffer]:
        """The current state by input."""
        return self._states[self._turn]

    def _stage(self, stage: Stage) -> tuple[list[list[Bound]], list[tuple[Bucket, bool]]]:
        graph = Graph(self.contract.file(stage.file), self.contract, self.device)
        gradients = [one.gradient for one in self.contract.parameters]
        buckets = buckets_of(stage, graph, gradients, len(self.shards) > 1)
        bound: list[list[Bound]] = []
        for index in range(len(self.shards)):
            own = self.feeds[index]
            outputs: dict[str, Buffer] = {}
            for name, (shape, dtype) in graph.outputs.items():
                bucket = next((one for one, _ in buckets if name in one.parts), None)
                if bucket is None:
                    own[name] = outputs[name] = Buffer.empty(shape, dtype, self.device)
                else:
                    outputs[name] = Buffer(bucket.view(name, bucket.scratch if index > 0 else bucket.flat), "cpu")
            bound.append([graph.bind(self._inputs(graph, own, turn), outputs) for turn in range(2)])
        for bucket, _ in buckets:
            for name, (result, _, _) in bucket.parts.items():
                self.values[result] = Buffer(bucket.view(name, bucket.flat), "cpu")
                for own in self.feeds:
                    own.pop(result, None)
        return bound, buckets

    def _inputs(self, graph: Graph, own: dict[str, Buffer], turn: int) -> dict[str, Buffer]:
        """The memory of a graph's inputs: the state, values of the shard, or values that all shards share."""
        bound: dict[str, Buffer] = {}
        shared = {
            *(one["schedule"] for one in self.contract.raw["penalties"] if one.get("schedule")),
            *_scalar_names(self.contract),
        }
        feeds = self.contract.feeds
        ports = [*feeds.inputs, *([feeds.labels] if feeds.labels else [])]
        fed = {*(port.name for port in ports), *(one.name for one in (*self.contract.masks, *self.contract.draws))}
        for name, (shape, dtype) in graph.inputs.items():
            if name in self._states[turn]:
                bound[name] = self._states[turn][name]
            elif name in own:
                bound[name] = own[name]
            elif name in self.values:
                bound[name] = self.values[name]
            elif name not in shared and name not in fed:
                raise RunError(f'a graph reads "{name}", which nothing feeds: write the folder again with sorth-onnx distribute')
            else:
                buffer = Buffer.empty(shape, dtype, self.device)
                (self.values if name in shared else own)[name] = buffer
                bound[name] = buffer
        return bound

    def _bound_update(self) -> list[list[Bound]]:
        """The graphs of the update for each turn: the whole, or the parts of this process."""
        raw = self.contract.raw["update"]
        files = [raw["file"]]
        if self._sharded:
            files = [part["file"] for part in raw["parts"][self._reducer.rank :: self._reducer.size]]
        graphs = [Graph(self.contract.file(file), self.contract, self.device) for file in files]
        names = {state.output: state.input for state in self.contract.states}
        bound: list[list[Bound]] = [[], []]
        for turn in range(2):
            following = self._states[1 - turn]
            for graph in graphs:
                outputs = {
                    name: following[names[name]]
                    if name in names
                    else self.values.setdefault(name, Buffer.empty(shape, dtype, "cpu"))
                    for name, (shape, dtype) in graph.outputs.items()
                }
                bound[turn].append(graph.bind(self._inputs(graph, {}, turn), outputs))
        return bound

    def write(self, name: str, array: Any) -> None:
        """Feeds a value that all shards share, if some graph reads it."""
        if name in self.values:
            self.values[name].write(np.asarray(array))

    def number(self, name: str | None) -> float:
        """A number that the last step returned."""
        return 0.0 if name is None else float(self.values[name].read().reshape(-1)[0])

    def run_stages(self) -> None:
        """Computes the gradients of the joint batch."""
        for bound, buckets in self._stages:
            last = len(bound) - 1
            for index, turns in enumerate(bound):
                turns[self._turn].run()
                if 0 < index < last:
                    for bucket, _ in buckets:
                        bucket.flat += bucket.scratch
            pending: list[Pending] = []
            for bucket, is_gradient in buckets:
                if last > 0:
                    bucket.flat += bucket.scratch
                pending.append(self._reducer.sum(bucket.flat, half=self._half and is_gradient))
            for (bucket, _), work in zip(buckets, pending):
                work.wait()
                bucket.finish(self.contract.shards)

    def update(self) -> None:
        """Goes on to the next state."""
        following = self._states[1 - self._turn]
        for part in self._update[self._turn]:
            part.run()
        for one in self.contract.statistics:
            following[one.input].write(self.values[one.output].read())
        self._turn = 1 - self._turn

    def restore(self, tensors: Mapping[str, Array]) -> None:
        """Takes the state of a checkpoint, in the model's form."""
        for state in self._kept_states():
            self.state[state.input].write(state.in_step(tensors[state.input]))


def _scalar_names(contract: Contract) -> list[str]:
    scalars = contract.raw["scalars"]
    names = [scalars.get("learningRate"), scalars.get("step"), scalars.get("momentum"), scalars.get("penaltyWeight")]
    return [name for name in names if name] + [one["input"] for one in scalars.get("rates", [])]

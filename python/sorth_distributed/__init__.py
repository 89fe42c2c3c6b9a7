"""Trains a run that `sorth-onnx distribute` wrote, in one process or several.

contract = load("shared")
worker = Worker(contract, reducer, load_data("mnist", contract))
for event in worker.fit(Fit(epochs=1)):
    print(event)
worker.export("trained.onnx")
"""

from .contract import Contract, load
from .data import Dataset, Parts, column_of, load_data
from .errors import RunError
from .fit_loop import Fit
from .reducer import Alone, Reducer, TorchReducer, reducer_of_environment
from .worker import Worker

__all__ = [
    "Alone",
    "Contract",
    "Dataset",
    "Fit",
    "Parts",
    "Reducer",
    "RunError",
    "TorchReducer",
    "Worker",
    "column_of",
    "load",
    "load_data",
    "reducer_of_environment",
]

"""Writes test/fixtures/angles.json: figures of angles and spectra by NumPy in float64, straight from their definitions.

Run: npm run python -- scripts/oracles/angles.py
"""

from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

import lcg
from summary import rounded, write_json

FIXTURE = Path(__file__).parents[2] / "test" / "fixtures" / "angles.json"
PERCENTILES = [1, 5, 25, 50, 75, 95, 99]

# Name, units, fan-in, groups, rows set to 0.
WEIGHTS: list[tuple[str, int, int, int, list[int]]] = [
    ("wide", 12, 40, 1, []),
    ("square", 24, 24, 1, [3, 17]),
    ("tall", 40, 7, 1, []),
    ("groups", 18, 5, 3, [4]),
    ("many", 300, 60, 1, []),
]
# Name, rows, units, groups, gamma.
RESPONSES: list[tuple[str, int, int, int, float]] = [
    ("gemm", 50, 9, 1, 10.0),
    ("few-rows", 6, 20, 1, 3.0),
    ("groups", 40, 12, 2, 5.0),
]
# Name, operator, weight, positions of the layer's input, groups, strides, dilations.
CONVOLUTIONS: list[tuple[str, str, list[int], list[int], int, list[int], list[int]]] = [
    ("plain", "Conv", [5, 3, 3, 3], [6, 6], 1, [1, 1], [1, 1]),
    ("more-channels", "Conv", [2, 4, 3, 2], [5, 4], 1, [1, 1], [1, 1]),
    ("stride", "Conv", [5, 3, 3, 3], [6, 8], 1, [2, 2], [1, 1]),
    ("stride-one-axis", "Conv", [6, 2, 2, 3], [4, 9], 1, [1, 3], [1, 1]),
    ("dilation", "Conv", [4, 3, 3, 3], [7, 6], 1, [1, 1], [2, 3]),
    ("stride-and-dilation", "Conv", [4, 3, 3], [12], 1, [4], [2]),
    ("wraps", "Conv", [3, 2, 5], [3], 1, [1], [1]),
    ("groups", "Conv", [6, 2, 3, 3], [4, 4], 3, [2, 1], [1, 1]),
    ("three-axes", "Conv", [3, 2, 2, 2, 2], [4, 3, 2], 1, [2, 1, 1], [1, 1, 1]),
    ("transposed", "ConvTranspose", [3, 4, 3, 3], [4, 3], 1, [2, 2], [1, 1]),
    ("transposed-groups", "ConvTranspose", [4, 3, 3], [5], 2, [2], [2]),
]


def plain(values: Any) -> Any:
    return [rounded(v) for v in values] if np.ndim(values) else rounded(float(values))


def pair_figures(cosines: np.ndarray, angles: np.ndarray) -> dict[str, Any]:
    return {
        "pairs": len(angles),
        "mean": plain(angles.mean()),
        "spread": plain(angles.std()),
        "min": plain(angles.min()),
        "max": plain(angles.max()),
        "percentiles": {p: plain(np.percentile(angles, p)) for p in PERCENTILES},
        "meanAbsoluteCosine": plain(np.abs(cosines).mean()),
        "cosineSpread": plain(cosines.std()),
        "coherence": plain(np.abs(cosines).max()),
    }


def pairs_of(rows: np.ndarray, groups: int) -> np.ndarray:
    """Cosines of all pairs of rows that are not 0, within groups."""
    found = []
    for group in np.split(rows, groups):
        group = group[np.linalg.norm(group, axis=1) > 0]
        unit = group / np.linalg.norm(group, axis=1, keepdims=True)
        found.append((unit @ unit.T)[np.triu_indices(len(unit), 1)])
    return np.concatenate(found)


def singular_values(*blocks: np.ndarray) -> np.ndarray:
    """Singular values of all blocks, descending; values below the resolution of float32 become 0."""
    values = np.sort(np.concatenate([np.linalg.svd(block, compute_uv=False) for block in blocks]))[::-1]
    return np.where(values > 1e-7 * values[0], values, 0)


def spectral_figures(values: np.ndarray) -> dict[str, Any]:
    share = values[values > 0] / values.sum()
    return {
        "count": len(values),
        "largest": plain(values[0]),
        "smallest": plain(values[-1]),
        "condition": plain(values[0] / values[-1]) if values[-1] > 0 else None,
        "rank": int((values > 0).sum()),
        "stableRank": plain((values**2).sum() / values[0] ** 2),
        "effectiveRank": plain(np.exp(-(share * np.log(share)).sum())),
    }


def block_diagonal(blocks: list[np.ndarray]) -> np.ndarray:
    whole = np.zeros((sum(b.shape[0] for b in blocks), sum(b.shape[1] for b in blocks)))
    row = column = 0
    for block in blocks:
        whole[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return whole


def weight(name: str, units: int, fan_in: int, groups: int, dead: list[int]) -> dict[str, Any]:
    rows = lcg.uniform(f"angles.{name}", [units, fan_in]).astype(np.float64)
    rows[dead] = 0
    cosines = pairs_of(rows, groups)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    normalized = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    whole = block_diagonal(np.split(rows, groups))
    whole_normalized = block_diagonal(np.split(normalized, groups))
    values = singular_values(*np.split(rows, groups))
    return {
        **{"name": name, "units": units, "fanIn": fan_in, "groups": groups, "dead": dead},
        **pair_figures(cosines, np.degrees(np.arccos(cosines))),
        "deviation": plain(np.linalg.norm(whole @ whole.T - np.eye(units))),
        "normalized": plain(np.linalg.norm(whole_normalized @ whole_normalized.T - np.eye(units))),
        "spectrum": spectral_figures(values),
        "singularValues": plain(values[:24]),
    }


def response(name: str, rows: int, units: int, groups: int, gamma: float) -> dict[str, Any]:
    y = lcg.uniform(f"responses.{name}", [rows, units], 0.3).astype(np.float64)
    t = np.tanh(gamma * y)
    correlations = pairs_of(t.T, groups)
    return {
        **{"name": name, "rows": rows, "units": units, "groups": groups, "gamma": gamma},
        **pair_figures(correlations, 90 * (1 - correlations)),
        "standardError": plain(90 * np.sqrt(((1 - correlations**2) / rows).mean())),
        "saturation": plain((np.abs(t) > 0.99).mean()),
        "gradientFactor": plain((1 - t**2).mean()),
    }


def convolution(
    name: str, op: str, shape: list[int], size: list[int], groups: int, strides: list[int], dilations: list[int]
) -> dict[str, Any]:
    """The map of an image as a matrix, entry by entry, with indices modulo the image size."""
    kernel = lcg.uniform(f"convolutions.{name}", shape).astype(np.float64)
    first = shape[0] // groups
    second = shape[1]
    # Strides move over the larger image: the input of a Conv, the output of a ConvTranspose.
    large = size if op == "Conv" else [n * s for n, s in zip(size, strides)]
    small = [n // s for n, s in zip(size, strides)] if op == "Conv" else size
    places = {p: i for i, p in enumerate(product(*map(range, large)))}
    matrix = np.zeros((shape[0] * prod(small), groups * second * prod(large)))
    for a, (i, q), tap in product(
        range(shape[0]), enumerate(product(*map(range, small))), product(*map(range, shape[2:]))
    ):
        at = tuple((s * x + d * t) % n for s, x, d, t, n in zip(strides, q, dilations, tap, large))
        for b in range(second):
            channel = (a // first) * second + b
            matrix[a * prod(small) + i, channel * prod(large) + places[at]] += kernel[(a, b, *tap)]
    # A group's block may be taller than wide: only the shorter sides count.
    count = groups * min(first * prod(small), second * prod(large))
    values = singular_values(matrix if op == "Conv" else matrix.T)[:count]
    return {
        **{"name": name, "op": op, "shape": shape, "size": size},
        **{"groups": groups, "strides": strides, "dilations": dilations},
        "spectrum": spectral_figures(values),
        "singularValues": plain(values[:: max(len(values) // 24, 1)]),
    }


write_json(
    FIXTURE,
    {
        "weights": [weight(*case) for case in WEIGHTS],
        "responses": [response(*case) for case in RESPONSES],
        "convolutions": [convolution(*case) for case in CONVOLUTIONS],
    },
)

"""Mixup (arXiv 1710.09412): samples of a joint batch mixed with each other (src/data/mixup.ts)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .contract import Array
from .data import Pass, Rows
from .random_streams import Stream


@dataclass(frozen=True)
class Mixture:
    """Each sample becomes `share` times itself plus the rest of its partner."""

    share: float
    partners: Rows

    def part(self, of: slice) -> Mixture:
        """That of some samples of the batch."""
        return Mixture(self.share, self.partners[of])

    def mixed(self, own: Array, other: Array) -> Array:
        """Numbers of samples, and of their partners."""
        dtype = own.dtype if own.dtype.kind == "f" else np.dtype(np.float32)
        made: Array = (self.share * own.astype(np.float64) + (1 - self.share) * other.astype(np.float64)).astype(dtype)
        return made


def mixture_of(alpha: float | None, rows: Rows, turn: Pass) -> Mixture | None:
    """The mixture of a joint batch: it depends on the seed, the epoch and the first sample of the batch."""
    if alpha is None:
        return None
    stream = Stream("mixup", turn.seed, turn.epoch, int(rows[0]))
    # Logarithms, since both numbers of a small α may be too small for a double.
    difference = _log_gamma(alpha, stream) - _log_gamma(alpha, stream)
    share = 1 / (1 + math.exp(min(-difference, 709.0)))
    return Mixture(share, rows[stream.order(len(rows))])


def _log_gamma(alpha: float, stream: Stream) -> float:
    """The logarithm of a number from Gamma(α), by Marsaglia and Tsang (doi 10.1145/358407.358414)."""
    if alpha < 1:
        # In this order: the second number is drawn behind the first.
        larger = _log_gamma(alpha + 1, stream)
        return larger + math.log(_above_0(stream)) / alpha
    d = alpha - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        x = float(stream.normal(1)[0])
        v = (1 + c * x) ** 3
        u = _above_0(stream)
        if v > 0 and math.log(u) < x**2 / 2 + d - d * v + d * math.log(v):
            return math.log(d * v)


def _above_0(stream: Stream) -> float:
    """A uniform number above 0."""
    return 1 - float(stream.float64(1)[0])

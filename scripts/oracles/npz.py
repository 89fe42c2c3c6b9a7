"""Writes the NumPy archives that test/data reads: python scripts/oracles/npz.py (needs numpy)."""

from pathlib import Path

import numpy as np

folder = Path(__file__).parents[2] / "test" / "fixtures" / "npz"
folder.mkdir(parents=True, exist_ok=True)
x = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
labels = np.array([0, 2, 1, 0])  # int64

np.savez(folder / "labels.npz", x=x, y=labels, x_test=x[:2] + 100, y_test=np.array([1, 1], np.uint8), extra=x)
np.savez_compressed(
    folder / "targets.npz", x=np.asfortranarray(x.astype(">f8")), y=(x[:, 0, :2] / 4).astype(np.float16)
)
np.savez(folder / "objects.npz", x=np.array([{}, 1, "a"], dtype=object), y=np.arange(3))
np.savez(folder / "text.npz", x=x, y=np.array(["cat", "dog", "cat", "dog"]))

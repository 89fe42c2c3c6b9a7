"""Trains the run that `sorth-onnx distribute` wrote into this folder: `python run.py` or `torchrun --nproc-per-node N run.py`."""

from __future__ import annotations

import sys
from pathlib import Path

folder = Path(__file__).resolve().parent
sys.path.insert(0, str(folder))

try:
    from sorth_distributed.command import main
except ImportError as error:
    sys.exit(f"error: {error}: pip install -r {folder / 'requirements.txt'}")

if __name__ == "__main__":
    sys.exit(main(folder))

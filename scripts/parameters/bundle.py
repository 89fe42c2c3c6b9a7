"""Packs the exports of the other scripts and their trained parameters into two files; equal exports give equal bytes.

Run: python scripts/parameters/bundle.py FOLDER OUTPUT
"""

import json
import sys
import zipfile
from pathlib import Path

folder, output = Path(sys.argv[1]), Path(sys.argv[2])
output.mkdir(parents=True, exist_ok=True)
parts = [json.loads((folder / name).read_text()) for name in ("torch.json", "keras.json")]
models = sorted((model for part in parts for model in part["models"]), key=lambda model: model["file"])
versions = {key: value for part in parts for key, value in part.items() if key != "models"}
with zipfile.ZipFile(output / "models.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
    for model in models:
        entry = zipfile.ZipInfo(model["file"], (2000, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, (folder / model["file"]).read_bytes())
lines = [json.dumps({"file": model["file"], "trained": sorted(model["trained"]), "notInFile": model["missing"]}) for model in models]
text = f'{{"versions": {json.dumps(versions)}, "models": [\n  ' + ",\n  ".join(lines) + "\n]}\n"
(output / "index.json").write_text(text)

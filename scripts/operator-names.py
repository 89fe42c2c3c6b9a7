"""Names of all operators that a model of opset 11 to 26 may have, by domain. test/autodiff/complete.test.ts holds the
table of derivatives against them.

Run: npm run python -- scripts/operator-names.py test/fixtures/operator-names.json
"""

import json
import sys
from pathlib import Path

from onnx.defs import get_all_schemas_with_history

NEWEST = {"": 26, "ai.onnx.ml": 5}


def main(path: Path) -> None:
    names = {
        domain: sorted({s.name for s in get_all_schemas_with_history() if s.domain == domain and s.since_version <= newest})
        for domain, newest in NEWEST.items()
    }
    path.write_text(json.dumps(names, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

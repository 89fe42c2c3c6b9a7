"""Which operators of ONNX's standard domain changed their form between opsets 7 and 26: inputs, outputs and attributes,
not the types they take. test/graph/operator-changes.test.ts holds the adapters against what this prints.

Run: npm run python -- scripts/opset-changes.py test/fixtures/opset-changes.json
"""

import json
import sys
from itertools import pairwise
from pathlib import Path

import onnx
from onnx.defs import OpSchema, get_all_schemas_with_history

OLDEST, NEWEST = 7, 26


def fits(old: list, new: list) -> bool:
    """Whether a node with the old inputs (or outputs) is valid with the new ones; a file does not store their names."""
    same = all(a.option == b.option or b.option.name == "Optional" for a, b in zip(old, new))
    return same and len(old) <= len(new) and all(b.option.name == "Optional" for b in new[len(old) :])


def attributes(schema: OpSchema) -> dict[str, tuple]:
    def default(attribute: OpSchema.Attribute) -> str:
        value = attribute.default_value
        if not value.name:
            return ""
        held = onnx.helper.get_attribute_value(value)
        return held.decode() if isinstance(held, bytes) else str(held)

    return {name: (a.required, a.type.name, default(a)) for name, a in schema.attributes.items()}


def changes(before: OpSchema, after: OpSchema) -> list[str]:
    """The changes that matter to a node of the older form; empty if only types changed."""
    found = ["deprecated"] if after.deprecated and not before.deprecated else []
    if not fits(before.inputs, after.inputs):
        found.append("other inputs")
    elif len(before.inputs) < len(after.inputs):
        found.append("more inputs")
    if not fits(before.outputs, after.outputs):
        found.append("other outputs")
    elif len(before.outputs) < len(after.outputs):
        found.append("more outputs")
    old, new = attributes(before), attributes(after)
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            found.append(f"{name} gone")
        elif name not in old:
            found.append(f"{name} needed" if new[name][0] else f"{name} new")
        elif old[name] != new[name] and old[name][2] != new[name][2]:
            found.append(f"{name} defaults to {new[name][2]}")
    return found


def main() -> None:
    versions: dict[str, dict[int, OpSchema]] = {}
    for schema in get_all_schemas_with_history():
        if schema.domain == "":
            versions.setdefault(schema.name, {})[schema.since_version] = schema
    result = {}
    for name, schemas in sorted(versions.items()):
        first = max((v for v in schemas if v <= OLDEST), default=min(schemas))
        later = sorted(v for v in schemas if first <= v <= NEWEST)
        found = {after: changes(schemas[before], schemas[after]) for before, after in pairwise(later)}
        found = {version: list for version, list in found.items() if list}
        if found:
            result[name] = found
    lines = (f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in result.items())
    Path(sys.argv[1]).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()

import { fedInputs } from "../analysis/dimensions.ts";
import { DataError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import type { Model } from "../onnx/model.ts";
import type { Dataset } from "./dataset.ts";
import { mainColumn } from "./dataset.ts";

/** Operators that pass whole numbers on as they are. */
const passing = new Set(["Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"]);

/**
 * Refuses numbers that a model looks up in an embedding that has no row for them: tokens of another tokenizer, or padding with
 * -1, for which ONNX takes the last row.
 * @throws DataError that names the first of them
 */
export function checkTokens({ name, inputs }: Dataset, model: Model): void {
  if (!inputs) return;
  const fed = fedInputs(graphOf(model));
  for (const input of fed) {
    const column = inputs.get(input.name) ?? (fed.length === 1 ? mainColumn(inputs.values()) : undefined);
    const table = column?.type === "integer" ? tableFor(input) : undefined;
    if (!column || !table) continue;
    const { least, most } = column.range();
    if (least >= 0 && most < table.rows) continue;
    throw new DataError(
      `${name}: ${column.name} holds the number ${least < 0 ? least : most}, and "${table.name}", in which the model looks it up, has ${table.rows} rows (0 … ${table.rows - 1}): use the tokenizer of the model, and a number of its own for padding`,
    );
  }
}

/** The embedding whose rows the numbers of a value choose; undefined if there is none. */
function tableFor(value: Value): { readonly name: string; readonly rows: number } | undefined {
  for (const { node, index } of value.uses) {
    const [first] = node.inputs;
    if (node.op === "Gather" && index === 1 && node.int("axis", 0) === 0) {
      const { dims = [], type } = first?.initializer ?? {};
      const rows = dims.length === 2 && /float|double/.test(type ?? "") ? dims[0] : undefined;
      if (rows !== undefined) return { name: first?.name ?? "", rows };
    }
    const [result] = index === 0 && passing.has(node.op) ? node.outputs : [];
    const found = result && tableFor(result);
    if (found) return found;
  }
  return undefined;
}

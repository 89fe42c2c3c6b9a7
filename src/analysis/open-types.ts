import type { Graph } from "../graph/graph.ts";
import { type DeclaredDim, Value } from "../graph/node.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import { checkFills } from "./check-fills.ts";
import { undescribedValues } from "./infer.ts";
import type { Probe } from "./probe.ts";
import { probeOutputs } from "./probe-model.ts";

/** A value as ONNX Runtime infers it with the file's own free dimensions. */
interface OpenType {
  readonly type: DataTypeName | undefined;
  /** Numbers, names of free dimensions, or undefined for a length that is known only after running; undefined for an unknown rank. */
  readonly dims: readonly DeclaredDim[] | undefined;
}

/**
 * Type and shape of values with the free dimensions left open, as ONNX Runtime infers them: `[batch, 64, 28, 28]`. A value
 * that is no tensor (a sequence, a map) has no entry.
 * @throws SorthError with ONNX Runtime's message when it refuses the model
 */
export async function openTypes(
  graph: Graph,
  probe: Probe,
  values: readonly Value[],
): Promise<Map<Value, OpenType>> {
  const hidden = undescribedValues(graph);
  const described = values.filter((value) => !hidden.has(value));
  const castsOf = new Map(
    values.flatMap((value) =>
      hidden.has(value) ? [[value, graph.freshName(`${value.name}.float`)] as const] : [],
    ),
  );
  const ask = async (outputs: Parameters<typeof probeOutputs>[3]) => {
    checkFills(graph);
    const answers = await probeOutputs(graph, probe, new Map(), outputs);
    return new Map(answers.map((output) => [output.name, output]));
  };
  const found = await ask({ values: described, castsOf });
  const result = new Map<Value, OpenType>();
  for (const value of values) {
    const output = found.get(castsOf.get(value) ?? value.name);
    if (!output?.isTensor) continue;
    const dims = output.shape?.map((dim) => (dim === "" ? undefined : dim));
    result.set(value, { type: hidden.get(value) ?? output.type, dims });
  }
  // An empty shape is a scalar or an unknown rank; the length of Shape(value) decides which.
  const doubtful = [...result].filter(([, { dims }]) => dims?.length === 0);
  if (doubtful.length === 0) return result;
  const shapesOf = new Map(doubtful.map(([value]) => [value, graph.freshName(`${value.name}.shape`)]));
  const ranks = await ask({ values: [], shapesOf });
  for (const [value, { type }] of doubtful) {
    const scalar = ranks.get(shapesOf.get(value) ?? "")?.shape?.[0] === 0;
    if (!scalar) result.set(value, { type, dims: undefined });
  }
  return result;
}

/** A value's declaration as an output of a file. */
export function declarationOf(name: string, { type, dims }: OpenType): Value {
  const declared = new Value(name, type);
  declared.declared = dims;
  return declared;
}

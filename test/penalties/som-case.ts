import type { Graph } from "../../src/graph/graph.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { som } from "../../src/penalties/som.ts";
import type { SomOptions } from "../../src/penalties/som-options.ts";
import { runModel } from "../helpers/run-model.ts";
import { type LayerCase, penaltyGraph, referenceOf } from "./layer-case.ts";

/** A layer's response, and how SOM is to be built for it. */
export interface SomCase extends Omit<LayerCase, "response" | "weight" | "bias" | "op"> {
  readonly shape: readonly number[];
  readonly options?: Partial<SomOptions>;
  /** Whether the gradient is an output too; default true. */
  readonly gradient?: boolean;
}

/** The layer of a case. */
export const layerCase = ({ shape, ...c }: Pick<SomCase, "shape" | "unitAxis">): LayerCase => ({
  ...c,
  response: shape,
});

/** The graph of one response and its penalty: input `y`, outputs `value` and `gradient`. */
export function somGraph(c: SomCase): Graph {
  const { graph } = penaltyGraph(som(c.options), layerCase(c), { gradients: c.gradient ?? true });
  for (const input of [...graph.inputs]) if (input.uses.size === 0) graph.removeInput(input);
  return graph;
}

/** Runs the case's graph: the value, and the gradient in the response's order. */
export async function runSom(c: SomCase, data: Tensor): Promise<{ value: number; gradient: number[] }> {
  const outputs = Object.values(await runModel(somGraph(c), { y: data }));
  return { value: outputs[0]?.numbers()[0] ?? Number.NaN, gradient: outputs[1]?.numbers() ?? [] };
}

/** The float64 reference on a response in its own layout. */
export function referenceSom(
  c: Pick<SomCase, "unitAxis" | "groups" | "options">,
  shape: readonly number[],
  data: ArrayLike<number>,
): { value: number; gradient: readonly number[] } {
  const units = shape[c.unitAxis] ?? 0;
  const { unitAxis, groups = 1 } = c;
  const of = { response: shape, unitAxis, groups, weight: [units, 1] };
  const weight = new Float64Array(units);
  const { value, response } = referenceOf(som(c.options), of, { response: data, weight });
  return { value, gradient: response };
}

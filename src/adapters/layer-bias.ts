import { constantTensor } from "../analysis/probe-model.ts";
import type { Site } from "../analysis/site-types.ts";
import type { Value } from "../graph/node.ts";
import { weightSteps } from "./weight-steps.ts";

/** The stored bias of a layer; or why its numbers cannot be changed with the layer's weights. */
export type LayerBias = { readonly name: string } | { readonly reason: string };

/**
 * The stored numbers of a bias; undefined without a bias.
 * @param axis - the axis of units in the result, from the last
 */
export function biasOf(
  added: Value | undefined,
  { units, axis }: { readonly units: number; readonly axis: -1 | -2 },
): LayerBias | undefined {
  if (!added) return undefined;
  const dims = added.shape ?? constantTensor(added)?.dims ?? [];
  const ofUnits = dims.length + axis;
  if (ofUnits < 0 || !dims.every((dim, i) => dim === (i === ofUnits ? units : 1))) {
    return { reason: `its bias is [${dims.join(", ")}], not one number for each unit` };
  }
  const steps = weightSteps(added);
  if (typeof steps === "string") return { reason: steps.replace("its weight", "its bias") };
  if (steps.isQuantized) return { reason: "its bias is quantized (DequantizeLinear)" };
  let root: Value = added;
  // The operators between a bias and its layer keep the order of its numbers: it is a vector.
  while (!constantTensor(root) && root.producer?.inputs[0]) root = root.producer.inputs[0];
  return { name: root.name };
}

/** The bias that a layer adds to its product; undefined if it adds none. */
export function addedTo({ node, op, response }: Pick<Site, "node" | "op" | "response">): Value | undefined {
  const { producer } = response;
  if (op !== "MatMul") return node.inputs[2] ?? undefined;
  if (!producer || producer === node) return undefined;
  const isProduct = (value: Value): boolean => {
    const source = value.producer?.op === "Cast" ? value.producer.inputs[0] : undefined;
    return value === node.outputs[0] || (source ? isProduct(source) : false);
  };
  return producer.inputs.find((input) => input && !isProduct(input)) ?? undefined;
}

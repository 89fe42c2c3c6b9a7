import type { Value } from "../graph/node.ts";
import { lastPart } from "./exporter-names.ts";
import type { Reading } from "./readings.ts";

/**
 * Whether a constant is a buffer of a BatchNorm that its network keeps frozen (FrozenBatchNorm2d of torchvision, DETR's), written
 * as a Mul and an Add: for certain if statistics of data go into the same operand, likely if a folded scale and shift follow a
 * convolution without a bias. Undefined if it is none.
 */
export function frozenNormalization({ node, index, computed }: Reading): "certain" | "likely" | undefined {
  if (node.op !== "Mul" && node.op !== "Add") return undefined;
  if (computed) return readsStatistics(node.inputs[index]) ? "certain" : undefined;
  const scaling = node.op === "Mul" ? node : node.inputs[1 - index]?.producer;
  const [reader] = scaling?.op === "Mul" ? [...(scaling.outputs[0]?.uses ?? [])] : [];
  const shifting = reader?.node;
  const layer = scaling?.inputs.find((input) => input && !input.initializer)?.producer;
  const folded =
    layer?.op === "Conv" &&
    !layer.inputs[2] &&
    shifting?.op === "Add" &&
    isFolded(scaling) &&
    isFolded(shifting);
  return folded ? "likely" : undefined;
}

/** Whether PyTorch's TorchScript exporter computed an operand that has one number for each channel. */
const isFolded = (node: Reading["node"] | null | undefined): boolean =>
  !!node?.inputs.some(
    (input) =>
      /^onnx::(Mul|Add)_\d+$/.test(input?.name ?? "") && /^1,\d+(,1)+$/.test(`${input?.initializer?.dims}`),
  );

function readsStatistics(operand: Value | null | undefined): boolean {
  const open = [operand];
  const seen = new Set(open);
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (value && /^running_(mean|var)$/.test(lastPart(value.name))) return true;
    for (const input of value?.producer?.inputs ?? []) {
      if (!input || seen.has(input)) continue;
      seen.add(input);
      open.push(input);
    }
  }
  return false;
}

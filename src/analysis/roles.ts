import { graphOfBody } from "../graph/body-graph.ts";
import type { Node, Use, Value } from "../graph/node.ts";
import { tableOf } from "../lookup.ts";

/** What an initializer is to the operator that reads it. */
export type Role =
  | "weight"
  | "bias"
  | "scale"
  | "slope"
  | "embedding"
  | "recurrent"
  | "operand"
  | "running mean"
  | "running variance"
  | "other";

/** One place where an initializer is read. */
export interface Reading {
  /** Where it enters the chain of operators that only pass it on: what a copy of it would replace. */
  readonly use: Use;
  /** The operator at the end of that chain, and which of its inputs. */
  readonly node: Node;
  readonly index: number;
  readonly role: Role;
}

/** Roles of inputs by operator and position; null is an input that is never a parameter. */
const rolesOf: Readonly<Record<string, readonly (Role | null)[]>> = tableOf({
  Gemm: ["weight", "weight", "bias"],
  MatMul: ["weight", "weight"],
  Einsum: ["weight", "weight", "weight"],
  Conv: [null, "weight", "bias"],
  ConvTranspose: [null, "weight", "bias"],
  Gather: ["embedding"],
  BatchNormalization: [null, "scale", "bias", "running mean", "running variance"],
  LayerNormalization: [null, "scale", "bias"],
  GroupNormalization: [null, "scale", "bias"],
  InstanceNormalization: [null, "scale", "bias"],
  RMSNormalization: [null, "scale"],
  SimplifiedLayerNormalization: [null, "scale"],
  PRelu: [null, "slope"],
  LSTM: [null, ...Array<Role>(3).fill("recurrent"), null, null, null, "recurrent"],
  GRU: [null, ...Array<Role>(3).fill("recurrent")],
  RNN: [null, ...Array<Role>(3).fill("recurrent")],
  "com.microsoft.Attention": [null, "weight", "bias"],
  "com.microsoft.BiasGelu": [null, "bias"],
  "com.microsoft.EmbedLayerNormalization": [null, null, ...Array<Role>(3).fill("embedding"), "scale", "bias"],
  "com.microsoft.FastGelu": [null, "bias"],
  "com.microsoft.FusedConv": [null, "weight", "bias"],
  "com.microsoft.FusedGemm": ["weight", "weight", "bias"],
  "com.microsoft.FusedMatMul": ["weight", "weight"],
  "com.microsoft.MultiHeadAttention": [null, null, null, "bias"],
  "com.microsoft.SkipLayerNormalization": [null, null, "scale", "bias", "bias"],
  "com.microsoft.SkipSimplifiedLayerNormalization": [null, null, "scale", "bias"],
  "com.microsoft.TransposeMatMul": ["weight", "weight"],
});

/** Operators that scale and shift what they normalize. */
export const normalizations: ReadonlySet<string> = new Set([
  ...["BatchNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization"],
  ...["RMSNormalization", "SimplifiedLayerNormalization"],
]);

/** Operators behind which a parameter is still that parameter, laid out otherwise. */
const passing = new Set([
  ...[
    "Identity",
    "Transpose",
    "Reshape",
    "Cast",
    "Unsqueeze",
    "Squeeze",
    "Flatten",
    "Expand",
    "Slice",
    "Tile",
  ],
]);

/** Operators whose operands are parameters or constants, which only their names tell. */
const plain = new Set(["Add", "Sub", "Mul", "Div", "Concat", "Where", "Max", "Min"]);

/** Products to which a bias is added. */
const products = new Set(["MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum"]);

/** Operators that read the form of a value and not its numbers. */
const formal = new Set(["Shape", "Size"]);

/**
 * Where an initializer is read, and as what: operators that only pass it on are looked through, and so are the bodies of
 * If, Loop and Scan. Reading its shape is no reading.
 */
export function readingsOf(value: Value): Reading[] {
  return [...value.uses].flatMap((use) => {
    if (use.index >= 0) return ends(use).map((end) => ({ use, ...end, role: roleOf(end, value) }));
    const inside = bodiesReading(use.node, value).flatMap(readingsOf);
    if (inside.length === 0) return [{ use, node: use.node, index: -1, role: "other" as const }];
    return inside.map((reading) => ({ ...reading, use }));
  });
}

/** A captured value as it appears in each body of a node. */
function bodiesReading(node: Node, { name }: Value): Value[] {
  return [...node.attributes].flatMap(([attribute, { kind }]) => {
    const inner = kind === "graph" ? graphOfBody(node, attribute).value(name) : undefined;
    return inner ? [inner] : [];
  });
}

/** The operators at which a chain of passing ones ends. */
function ends({ node, index }: Use): { node: Node; index: number }[] {
  if (formal.has(node.op)) return [];
  const [output] = node.outputs;
  if (!output || index !== 0 || !passing.has(node.op)) return [{ node, index }];
  return [...output.uses].flatMap(ends);
}

function roleOf({ node, index }: { node: Node; index: number }, value: Value): Role {
  const roles = rolesOf[node.op];
  if (roles) return roles[index] ?? "other";
  if (index < 0 || !plain.has(node.op)) return "other";
  return node.op === "Add" && isBias(node, index, value) ? "bias" : "operand";
}

/** Whether an Add's operand is a vector on one axis, added to a product with a parameter. */
function isBias(add: Node, index: number, value: Value): boolean {
  const dims = value.initializer?.dims ?? value.shape ?? [];
  const vector = dims.filter((dim) => dim !== 1).length === 1;
  const product = add.inputs[1 - index]?.producer;
  return vector && product !== undefined && products.has(product.op) && product.inputs.some(isParameterLike);
}

const isParameterLike = (operand: Value | null): boolean => sourceOf(operand)?.initializer !== undefined;

/** The value at the start of a chain of operators that only pass it on. */
function sourceOf(operand: Value | null | undefined): Value | undefined {
  let value = operand ?? undefined;
  while (value?.producer && passing.has(value.producer.op)) value = value.producer.inputs[0] ?? undefined;
  return value;
}

/** The weight of the layer to which a bias belongs: of the reader itself, or of the product to which an Add adds it. */
export function weightBeside(reader: Node, index: number): Value | undefined {
  const product = reader.op === "Add" ? reader.inputs[1 - index]?.producer : reader;
  return product?.inputs.map(sourceOf).find((value) => value?.initializer);
}

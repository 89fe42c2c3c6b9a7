import { tableOf } from "../lookup.ts";

/** The role of an initializer for the operator that reads it. */
export type Role =
  | "weight"
  | "bias"
  | "scale"
  | "slope"
  | "embedding"
  | "recurrent"
  | "initial state"
  | "operand"
  | "running mean"
  | "running variance"
  | "running vector"
  | "other";

/** Roles of inputs by operator and position; null for an input that is never a parameter. */
const rolesOf: Readonly<Record<string, readonly (Role | null)[]>> = tableOf({
  Gemm: ["weight", "weight", "bias"],
  MatMul: ["weight", "weight"],
  Einsum: ["weight", "weight", "weight"],
  Conv: [null, "weight", "bias"],
  ConvTranspose: [null, "weight", "bias"],
  DeformConv: [null, "weight", null, "bias"],
  GridSample: ["operand"],
  Attention: ["operand", "operand", "operand"],
  ScatterND: ["operand", null, "operand"],
  ScatterElements: ["operand", null, "operand"],
  Gather: ["embedding"],
  GatherND: ["embedding"],
  GatherElements: ["embedding"],
  BatchNormalization: [null, "scale", "bias", "running mean", "running variance"],
  LayerNormalization: [null, "scale", "bias"],
  GroupNormalization: [null, "scale", "bias"],
  InstanceNormalization: [null, "scale", "bias"],
  RMSNormalization: [null, "scale"],
  SimplifiedLayerNormalization: [null, "scale"],
  PRelu: [null, "slope"],
  LSTM: [null, ...Array<Role>(3).fill("recurrent"), null, "initial state", "initial state", "recurrent"],
  GRU: [null, ...Array<Role>(3).fill("recurrent"), null, "initial state"],
  RNN: [null, ...Array<Role>(3).fill("recurrent"), null, "initial state"],
  "com.microsoft.Attention": [null, "weight", "bias"],
  "com.microsoft.BiasGelu": [null, "bias"],
  "com.microsoft.EmbedLayerNormalization": [null, null, ...Array<Role>(3).fill("embedding"), "scale", "bias"],
  "com.microsoft.FastGelu": [null, "bias"],
  "com.microsoft.FusedConv": [null, "weight", "bias"],
  "com.microsoft.FusedGemm": ["weight", "weight", "bias"],
  "com.microsoft.FusedMatMul": ["weight", "weight"],
  "com.microsoft.FusedMatMulActivation": ["weight", "weight"],
  "com.microsoft.GemmFastGelu": [null, "weight", "bias"],
  "com.microsoft.GroupQueryAttention": [...Array<null>(11).fill(null), "bias"],
  "com.microsoft.MultiHeadAttention": [null, null, null, "bias"],
  "com.microsoft.NhwcFusedConv": [null, "weight", "bias"],
  "com.microsoft.SkipLayerNormalization": [null, null, "scale", "bias", "bias"],
  "com.microsoft.SkipSimplifiedLayerNormalization": [null, null, "scale", "bias"],
  "com.microsoft.TransposeMatMul": ["weight", "weight"],
});

/** The role of one input of an operator; undefined for operators that are not in the table. */
export function roleByOperator(op: string, index: number): Role | undefined {
  const roles = rolesOf[op];
  return roles && (roles[index] ?? "other");
}

/** Normalizations with their own scale and shift. */
export const normalizations: ReadonlySet<string> = new Set([
  ...["BatchNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization"],
  ...["RMSNormalization", "SimplifiedLayerNormalization"],
]);

/** Operators whose result is still the same parameter, in another layout, type or size (Resize: a position embedding's). */
export const passing: ReadonlySet<string> = new Set([
  ...["Identity", "Transpose", "Reshape", "Cast", "CastLike", "Unsqueeze", "Squeeze", "Flatten"],
  ...["Expand", "Slice", "Tile", "Resize", "Pad"],
]);

/** Operators whose operands may be parameters or constants; their place in the graph, names and numbers decide. */
export const plain: ReadonlySet<string> = new Set([
  ...["Add", "Sub", "Mul", "Div", "Pow", "Concat", "Where", "Max", "Min", "Sum"],
]);

/** Products to which a bias is added. */
export const products: ReadonlySet<string> = new Set(["MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum"]);

/** Operators that read the shape of a value, not its numbers. */
export const formal: ReadonlySet<string> = new Set(["Shape", "Size", "ConstantOfShape"]);

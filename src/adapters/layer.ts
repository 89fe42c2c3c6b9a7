import type { Node } from "../graph/node.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import type { LayerBias } from "./layer-bias.ts";
import type { WeightStep } from "./weight-steps.ts";

/** A layer beside which an adapter can be put, described by names, so that a file can hold the description. */
export interface Layer {
  /** Name of the operator's node, or of its output if the node has no name. */
  readonly name: string;
  /** Its module in the source, by which PEFT names it; the weight's name if the source is not known. */
  readonly module: string;
  /** What the names of its adapter's parameters begin with: its weight, or its module if another layer reads the weight in another way. */
  readonly stem: string;
  /** `right`: Y = x·W. `left`: Y = W·x. `convolution`: Y = conv(x, W). `embedding`: Y = W[x], whose inputs are the rows of W. */
  readonly form: "right" | "left" | "convolution" | "embedding";
  /** The value that the operator reads as data. */
  readonly input: string;
  /** Whether the operator transposes that value first (Gemm). */
  readonly transposed: boolean;
  /** The operator's own output, and the value with its bias added. */
  readonly product: string;
  readonly response: string;
  /** The type of both. */
  readonly type: DataTypeName;
  /** The stored weight. */
  readonly weight: string;
  /** Shape of one unit's weights: [in], of a convolution [in / groups, …kernel]. */
  readonly unit: readonly number[];
  readonly units: number;
  /** The convolution's geometry: its integer attributes and auto_pad. */
  readonly geometry?: Readonly<Record<string, readonly number[] | string>>;
  /** The convolution's groups; absent if it has one. */
  readonly groups?: number;
  /** Whether the convolution is a transposed one, whose weight is [in, out / groups, …kernel]. */
  readonly upward?: true;
  /** Whether the product lies inside the operator (Attention), so that an adapter can only change the weight that it reads. */
  readonly inside?: true;
  /** The bias that the layer adds; absent if it adds none. */
  readonly bias?: LayerBias;
  /** How the weight that the operator reads follows from the stored one; a text says why nothing can be merged into it. */
  readonly stored: WeightForm | string;
  /** The same, starting from the output of a DequantizeLinear. */
  readonly dequantized?: DequantizedForm;
  /** Whether the operator itself dequantizes the weight (MatMulNBits, GatherBlockQuantized). */
  readonly packed?: true;
}

/** The way from a weight's numbers to the operand of a layer. */
export interface WeightForm {
  /** Whether the operand is [out, in, …] rather than [in, out, …]. */
  readonly unitsFirst: boolean;
  /** Name of the operand. */
  readonly operand: string;
  /** A factor by which the operator multiplies the product (Gemm's alpha). */
  readonly factor: number;
  /** Shape of the operand. */
  readonly dims: readonly number[];
  readonly steps: readonly WeightStep[];
}

/** The way from dequantized numbers to the operand of a layer. */
interface DequantizedForm extends WeightForm {
  /** The output of DequantizeLinear. */
  readonly source: string;
}

/** How a layer's operand follows from its numbers; undefined for a weight that is no float before the operator reads it. */
export const formOf = ({
  stored,
  dequantized,
}: Pick<Layer, "stored" | "dequantized">): WeightForm | undefined =>
  typeof stored === "string" ? dequantized : stored;

/** Shape of all that a unit of an adapter's A reads: [in], of a convolution [in, …kernel] of all groups. */
export const inputsOf = ({ unit: [inputs = 1, ...kernel], groups = 1 }: Layer): number[] => [
  inputs * groups,
  ...kernel,
];

/** A text that is the same for layers that read one weight in the same way: they share an adapter, as calls of one module do in PyTorch. */
export function readingOf(layer: Omit<Layer, "stem">): string {
  const { weight, form, unit, units, groups, upward } = layer;
  const { unitsFirst, steps = [] } = formOf(layer) ?? {};
  const turns = steps.filter((step) => "permutation" in step && step.permutation.join() === "1,0");
  const turned = unitsFirst === (turns.length % 2 === 0);
  return JSON.stringify([weight, form, unit, units, groups, upward, turned]);
}

/** A layer with the details that only a graph in memory has, such as its node. */
export interface FoundLayer extends Layer {
  /** Names that --include and --exclude match. */
  readonly names: readonly string[];
  /** Whether it is linear, as torch.nn.Linear, rather than a convolution or an embedding. */
  readonly linear: boolean;
  /** The node after which the adapter comes: it computes the response. */
  readonly last: Node;
}

/** A layer before the layers of the graph get modules of different names. */
export type DescribedLayer = Omit<FoundLayer, "stem">;

/** A layer that takes no adapter. */
export interface RefusedLayer {
  readonly name: string;
  readonly names: readonly string[];
  readonly reason: string;
}

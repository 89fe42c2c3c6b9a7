import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";

/** Random numbers that the caller feeds in place of those that a node of the model draws. */
export interface ModelDraw {
  /** Of shape [1, numbers]. */
  readonly input: Value;
  /** The shape in which the node takes them: that of its result, or [samples, draws, classes]. */
  readonly of: readonly number[];
  /** "normal": mean 0, deviation 1; "uniform": from 0 to 1. */
  readonly distribution: "normal" | "uniform";
  readonly node: string;
}

/** What a node makes of the fed numbers. */
type Draws = {
  readonly from: ModelDraw["distribution"];
  /** What decides on shape and type of the numbers; default: the result. */
  readonly like?: (node: Node, result: Typed) => Pick<Typed, "shape" | "type"> | undefined;
  readonly make: (g: Emit, node: Node, drawn: Typed) => Typed;
};

/** drawn·factor + offset, without what changes nothing. */
function stretched(g: Emit, drawn: Typed, factor: number, offset: number): Typed {
  const wide = factor === 1 ? drawn : g.mul(drawn, factor);
  return offset === 0 ? wide : g.add(wide, offset);
}

const normal: Draws = {
  from: "normal",
  make: (g, node, drawn) => stretched(g, drawn, node.float("scale", 1), node.float("mean", 0)),
};
const uniform: Draws = {
  from: "uniform",
  make: (g, node, drawn) => {
    const low = node.float("low", 0);
    return stretched(g, drawn, node.float("high", 1) - low, low);
  },
};
const bernoulli: Draws = {
  from: "uniform",
  make: (g, node, drawn) => g.greater(g.cast(node.inputs[0] as Value, drawn.type), drawn),
};

/**
 * Class c of the largest xᶜ − log Eᶜ, where E = −log(1 − u) are standard exponential numbers: it has the probability softmax(x)ᶜ
 * (E. J. Gumbel, 1954). Float32 rounds 1 − u for a small u, which decides on rare classes; log(1 − u)·u/(1 − (1 − u)) corrects
 * that (W. Kahan).
 */
const multinomial: Draws = {
  from: "uniform",
  like: ({ inputs: [x] }, { shape: [samples = 0, draws = 0] }) => {
    const [, classes] = x?.shape ?? [];
    return x?.type && classes ? { shape: [samples, draws, classes], type: x.type } : undefined;
  },
  make: (g, node, u) => {
    const scores = g.cast(node.inputs[0] as Value, u.type);
    const [samples, draws, classes] = u.shape as [number, number, number];
    const left = g.sub(1, u);
    const corrected = g.neg(g.mul(g.log(left), g.div(u, g.sub(1, left))));
    const exponential = g.where(g.equal(left, 1), u, corrected);
    const raced = g.sub(g.reshape(scores, [samples, 1, classes]), g.log(exponential));
    const attributes = { axis: int(2), keepdims: int(0) };
    return g.op("ArgMax", [raced], [samples, draws], { type: "int64", attributes });
  },
};

const drawing = new Map<string, Draws>([
  ["RandomNormal", normal],
  ["RandomNormalLike", normal],
  ["RandomUniform", uniform],
  ["RandomUniformLike", uniform],
  ["Bernoulli", bernoulli],
  ["Multinomial", multinomial],
]);

/**
 * Replaces the nodes of a model that draw random numbers by what they make of numbers that are fed, so that a seed decides on
 * them. The input is `<y>.drawn`.
 *
 *     y = RandomNormalLike(x) {mean, scale}  →  y = Reshape(y.drawn)·scale + mean
 *
 * For a graph whose shapes are inferred.
 * @returns the numbers to feed
 */
export const replaceDraws = definePass({
  name: "replace-draws",
  options: {},
  run(graph, _, { emit }) {
    const draws = graph.nodes.flatMap((node) => replace(graph, emit, node) ?? []);
    return draws.length > 0
      ? changed(`${counted(draws.length, "node")} with fed numbers`, draws)
      : unchanged("nothing draws numbers of a known shape", draws);
  },
});

function replace(graph: Graph, emit: Emit, node: Node): ModelDraw | undefined {
  const draws = drawing.get(node.op);
  const [y] = node.outputs;
  if (!draws || !y?.shape || !y.type) return undefined;
  const { type } = y;
  const numbers = draws.like ? draws.like(node, typed(y)) : typed(y);
  if (!numbers) return undefined;
  const { shape } = numbers;
  const input = graph.addInput(graph.freshName(`${y.name}.drawn`), "float", [1, elementCount(shape)]);
  const wide = numbers.type === "double" ? emit.cast(input, "double") : (input as Typed);
  const made = draws.make(emit, node, emit.reshape(wide, shape));
  graph.replaceUses(y, made.type === type ? made : emit.cast(made, type), { outputs: true });
  graph.removeNodes(new Set([node]));
  return { input, of: shape, distribution: draws.from, node: node.label };
}

import { normalDistribution, sigmoidOf } from "../../autodiff/rules/gelu.ts";
import { float } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Node, Value } from "../../graph/node.ts";
import { changes, defineGraphPass, definePass } from "../pass.ts";
import { numberOf, onlyReader, operandBeside } from "./operands.ts";

/**
 * Recognizes activations that exporters write in small operators, so that one rule differentiates each: 6 passes over the data
 * for Gelu, where the rules of its parts take 9, and 4 for Swish instead of 6. {@link writeOutActivations} writes them out again.
 * The nodes that compute the parts stay, without readers.
 *
 *     y = x·(1 + Erf(x/√2))·½  →  y = Gelu(x)
 *     y = x·Sigmoid(α·x)       →  y = Swish(x) {alpha}
 *
 * Only for float32: the CPU build has no Erf for double.
 */
export const recognizeActivations = defineGraphPass({
  name: "recognize-activations",
  options: {},
  run(graph) {
    const found = graph.nodes.flatMap((node) => gelu(node) ?? swish(node) ?? []);
    for (const { opType, node, x, alpha } of found) {
      node.opType = opType;
      graph.setInput({ node, index: 0 }, x);
      graph.dropNodeInputs(node, 1);
      if (alpha !== undefined) node.attributes.set("alpha", float(alpha));
    }
    return changes(found.length, "activation", "no activation is written in small operators");
  },
});

interface Activation {
  readonly opType: "Gelu" | "Swish";
  /** The node that computes it. */
  readonly node: Node;
  readonly x: Value;
  readonly alpha?: number;
}

/** The Gelu that an Erf belongs to: x·(1 + erf)·½ in any order of the factors. */
function gelu(erf: Node): Activation | undefined {
  if (erf.op !== "Erf") return undefined;
  const [argument] = erf.inputs;
  const scaled = argument && scaledBy(argument);
  if (scaled?.x.type !== "float" || !near(scaled.factor, Math.SQRT1_2)) return undefined;
  const { x } = scaled;
  const plusOne = onlyReader(erf.outputs[0], "Add");
  if (!plusOne || numberBeside(plusOne, erf.outputs[0]) !== 1) return undefined;
  const inner = onlyReader(plusOne.outputs[0], "Mul");
  const other = inner && operandBeside(inner, plusOne.outputs[0]);
  if (!inner || !other) return undefined;
  const half = scaledBy(other);
  if (half?.x === x && half.factor === 0.5) return { opType: "Gelu", node: inner, x };
  const outer = onlyReader(inner.outputs[0], "Mul");
  if (!outer) return undefined;
  const wanted = other === x ? numberBeside(outer, inner.outputs[0]) === 0.5 : numberOf(other) === 0.5;
  const complete = other === x || operandBeside(outer, inner.outputs[0]) === x;
  return wanted && complete ? { opType: "Gelu", node: outer, x } : undefined;
}

/** The Swish that a Sigmoid belongs to. */
function swish(sigmoid: Node): Activation | undefined {
  const [argument] = sigmoid.op === "Sigmoid" ? sigmoid.inputs : [];
  const product = onlyReader(sigmoid.outputs[0], "Mul");
  if (!argument || !product) return undefined;
  const x = operandBeside(product, sigmoid.outputs[0]);
  if (x?.type !== "float" || x === sigmoid.outputs[0]) return undefined;
  if (x === argument) return { opType: "Swish", node: product, x, alpha: 1 };
  const scaled = scaledBy(argument);
  return scaled?.x === x ? { opType: "Swish", node: product, x, alpha: scaled.factor } : undefined;
}

const numberBeside = (node: Node, value: Value | null | undefined): number | undefined =>
  numberOf(operandBeside(node, value));

/** A product of a value and a number, or a quotient. */
function scaledBy({ producer }: Value): { x: Value; factor: number } | undefined {
  const [a, b] = producer?.inputs ?? [];
  if (!a || !b) return undefined;
  const [left, right] = [numberOf(a), numberOf(b)];
  if (producer?.op === "Mul" && right !== undefined) return { x: a, factor: right };
  if (producer?.op === "Mul" && left !== undefined) return { x: b, factor: left };
  if (producer?.op === "Div" && right) return { x: a, factor: 1 / right };
  return undefined;
}

const near = (a: number, b: number) => Math.abs(a - b) < 1e-4 * Math.abs(b);

/**
 * Writes Gelu and Swish out in operators of opset 18, which share their parts with the gradient that {@link Emit} has written
 * before. An approximate Gelu stays.
 *
 *     y = Gelu(x)           →  y = x·HardSigmoid(Erf(x/√2)) {alpha=½, beta=½}
 *     y = Swish(x) {alpha}  →  y = x·Sigmoid(alpha·x)
 */
export const writeOutActivations = definePass({
  name: "write-out-activations",
  options: {},
  run(graph, _options, { emit }) {
    const nodes = graph.nodes.filter(
      (node) =>
        node.inputs[0]?.type === "float" &&
        (node.op === "Swish" || (node.op === "Gelu" && node.string("approximate", "none") === "none")),
    );
    for (const node of nodes) {
      graph.appendInput(node, 1, factorOf(emit, node, typed(node.inputs[0] as Value)));
      node.opType = "Mul";
      node.attributes.clear();
    }
    return changes(nodes.length, "activation", "there is no Gelu and no Swish");
  },
});

const factorOf = (g: Emit, node: Node, x: Typed): Typed =>
  node.op === "Gelu" ? normalDistribution(g, x) : sigmoidOf(g, x, node.float("alpha", 1));

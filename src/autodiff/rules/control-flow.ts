import { capturedNames } from "../../graph/bodies.ts";
import { bodyFromGraph, bodyOf, graphOfBody } from "../../graph/body-graph.ts";
import { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import { Value } from "../../graph/node.ts";
import { valueInfo } from "../../graph/proto.ts";
import { onnx } from "../../onnx/schema.js";
import type { RuleContext, RuleTable, Sample } from "../rule.ts";
import { backward } from "../walk.ts";

/** The data that both gradient branches share. */
interface BranchGradients {
  /** Captured values whose gradients the branches return. */
  readonly wanted: readonly Value[];
  /** Gradients of the If's outputs, by output index. */
  readonly arriving: ReadonlyMap<number, Typed>;
  readonly g: Emit;
}

/**
 * The gradients of the values that the branches of an If capture: another If on the same condition, whose branches
 * recompute the forward branch and walk it backwards. A branch returns zeros for values that it does not read.
 */
function gradientsOfBranches(
  context: RuleContext,
  wanted: readonly Value[],
  g: Emit,
): ReadonlyMap<Value, Typed> {
  const arriving = new Map<number, Typed>();
  context.node.outputs.forEach((output, index) => {
    const gradient = output ? context.gradient(index) : undefined;
    if (gradient) arriving.set(index, gradient);
  });
  // A name inside a body must differ from every name outside.
  const stem = g.graph.freshName(`${g.options.prefix}If`);
  const bodies = ["then", "else"].map((side) => {
    const emitted = { wanted, arriving, g };
    return [
      `${side}_branch`,
      gradientBranch(context, `${side}_branch`, `${stem}/${side}/`, emitted),
    ] as const;
  });
  const captured = new Set(bodies.flatMap(([, body]) => [...capturedNames(body)]));
  const gradients = g.multi("If", [context.input(0)], wanted.map(typed), {
    attributes: Object.fromEntries(bodies.map(([name, value]) => [name, { kind: "graph", value }])),
    captures: [...captured].map((name) => g.graph.valueNamed(name)),
  });
  return new Map(wanted.map((value, i) => [value, gradients[i] as Typed]));
}

/** A branch that returns the gradients of `wanted`, in that order. */
function gradientBranch(
  context: RuleContext,
  attribute: string,
  prefix: string,
  { wanted, arriving, g }: BranchGradients,
): onnx.GraphProto {
  const { node, rules } = context;
  const branch = graphOfBody(node, attribute, { outer: g.graph, typed: true });
  const outside = capturedNames(bodyOf(node, attribute));
  const results = [...branch.outputs];
  const seeds = [...arriving].map(([index, gradient]) => {
    const { name, type, shape } = gradient;
    const inner = typed(branch.value(name) ?? branch.addInput(name, type, shape));
    outside.add(name);
    return { value: results[index] as Value, gradient: () => inner };
  });
  const emit = new Emit(branch, { ...g.options, prefix });
  const wrt = wanted.map((value) => branch.value(value.name));
  const gradients = backward(branch, { wrt: wrt.filter((value) => value !== undefined), seeds, rules, emit });
  branch.outputs.length = 0;
  wrt.forEach((inner, index) => {
    const gradient = inner && gradients.get(inner);
    const { shape, type } = typed(wanted[index] as Value);
    const output = gradient ?? emit.filled(0, shape, type);
    const own = output.producer !== undefined && !branch.outputs.includes(output);
    branch.addOutput(own ? output : emit.identity(output));
  });
  branch.prune();
  return bodyFromGraph(branch, outside);
}

/** A sample body: y = f(captured values), float [2, 3]. */
function sampleBody(...nodes: readonly (readonly [string, string, ...string[]])[]): onnx.GraphProto {
  const info = (name: string) => valueInfo(new Value(name, "float", [2, 3]));
  const outputs = nodes.map(([, output]) => output);
  return new onnx.GraphProto({
    name: "sample",
    node: nodes.map(([opType, output, ...input]) => ({ opType, input, output: [output] })),
    output: [info(outputs.at(-1) ?? "")],
    valueInfo: outputs.slice(0, -1).map(info),
  });
}

const branches = (then: onnx.GraphProto, otherwise: onnx.GraphProto) => ({
  then_branch: { kind: "graph", value: then } as const,
  else_branch: { kind: "graph", value: otherwise } as const,
});

const ifSample = (condition: 0 | 1): Sample => ({
  inputs: [{ shape: [], constant: [condition], type: "bool" }, [2, 3], [3], [2, 3]],
  captured: 3,
  attributes: branches(
    sampleBody(["Mul", "h", "x1", "x2"], ["Tanh", "y", "h"]),
    sampleBody(["Sin", "s", "x3"], ["Mul", "t", "s", "x1"], ["Add", "y", "t", "x1"]),
  ),
  floatOnly: "its bodies are written in float; float64 in test/expansion",
  note: condition ? "then" : "else",
});

export const controlFlow = {
  // d If(c, f, g)(x) = If(c, df(x), dg(x))
  If: {
    vjp: (context, _dy, g) => {
      const { captures } = context.node;
      const wanted = captures.filter(context.wants);
      let gradients: ReadonlyMap<Value, Typed> | undefined;
      const gradientOf = (value: Value) => {
        gradients ??= gradientsOfBranches(context, wanted, g);
        return gradients.get(value) as Typed;
      };
      return [null, ...captures.map((value) => (wanted.includes(value) ? () => gradientOf(value) : null))];
    },
    samples: [ifSample(1), ifSample(0)],
  },
  Loop: { refused: "only a Loop whose number of trips does not depend on data can be unrolled" },
  Scan: { refused: "only a Scan over an axis of known length can be unrolled" },
  SequenceAt: { refused: "the sequence's elements and the position must be constant" },
  SequenceConstruct: { refused: "a reader of the sequence cannot be resolved" },
  SequenceInsert: { refused: "a reader of the sequence cannot be resolved" },
  SequenceErase: { refused: "a reader of the sequence cannot be resolved" },
  SequenceMap: { refused: "the sequence's elements must be known" },
  SplitToSequence: { refused: "a reader of the sequence cannot be resolved" },
  ConcatFromSequence: { refused: "the sequence's elements must be known" },
  SequenceEmpty: { constant: "it returns an empty sequence" },
  SequenceLength: { constant: "it returns a count" },
  Optional: { refused: "a reader of the optional cannot be resolved" },
  OptionalGetElement: { refused: "whether the optional holds a value must be known" },
  OptionalHasElement: { constant: "it returns a boolean" },
} satisfies RuleTable;

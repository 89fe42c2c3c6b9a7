import { capturedNames, copyBody, namesRead } from "../graph/bodies.ts";
import { bodyOf } from "../graph/body-graph.ts";
import { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import { onnx } from "../onnx/schema.js";
import { Tensor } from "../onnx/tensor.ts";
import { stepPrefix } from "./block-nodes.ts";
import type { Probe } from "./probe.ts";

/** How often a Loop runs, or why only data decides it. */
type TripCount = number | { readonly reason: string };

/** Whether a value depends neither on data nor on parameters. */
type IsConstant = (value: Value) => boolean;

/**
 * How often a Loop runs, if that does not depend on data: either its trip count is constant and its condition stays true, or
 * its condition is computed from constants (`while i < 3`). In the second case ONNX Runtime runs just that part of the body.
 * @param most - a Loop that runs more often is reported as running `most + 1` times
 */
export async function tripCountOf(
  graph: Graph,
  node: Node,
  probe: Probe,
  isConstant: IsConstant,
  most: number,
): Promise<TripCount> {
  const [trips, condition] = node.inputs;
  if (trips && !isConstant(trips)) return { reason: `its trip count "${trips.name}" is computed from data` };
  const given = trips?.initializer?.numbers()[0];
  const bound = Math.max(0, Math.min(given ?? most + 1, most + 1));
  if (condition) {
    if (!isConstant(condition)) return { reason: `its condition "${condition.name}" is computed from data` };
    if (condition.initializer?.numbers()[0] === 0) return 0;
  }
  const body = bodyOf(node, "body");
  if (staysTrue(body))
    return given === undefined ? { reason: "its condition stays true: it never ends" } : bound;
  return runCondition(graph, node, body, probe, isConstant, bound);
}

/** Whether a body returns its condition unchanged, or the constant true. */
function staysTrue(body: onnx.GraphProto.$Properties): boolean {
  const makers = new Map(
    (body.node ?? []).flatMap((node) => (node.output ?? []).map((name) => [name, node])),
  );
  let name = body.output?.[0]?.name ?? "";
  for (let maker = makers.get(name); maker; maker = makers.get(name)) {
    if (maker.opType === "Constant") {
      const value = maker.attribute?.find((attribute) => attribute.name === "value")?.t;
      return value ? Tensor.fromProto(value).numbers()[0] === 1 : false;
    }
    if (maker.opType !== "Identity" && maker.opType !== "Cast") return false;
    name = maker.input?.[0] ?? "";
  }
  const stored = body.initializer?.find((tensor) => tensor.name === name);
  return stored ? Tensor.fromProto(stored).numbers()[0] === 1 : name === body.input?.[1]?.name;
}

/** Counts the trips of a Loop by running the nodes that its condition depends on. */
async function runCondition(
  graph: Graph,
  node: Node,
  body: onnx.GraphProto.$Properties,
  probe: Probe,
  isConstant: IsConstant,
  bound: number,
): Promise<TripCount> {
  const { nodes, states } = sliceOfCondition(body);
  const small = new Graph("trips", graph.opsets);
  const take = (value: Value): Value | undefined => {
    if (!value.initializer || !isConstant(value)) return undefined;
    return small.value(value.name) ?? small.addInitializer(value.initializer);
  };
  const initial: Value[] = [];
  for (const state of states) {
    const value = node.inputs[state + 2];
    const taken = value && take(value);
    if (!taken) return { reason: `its condition depends on "${value?.name}", which is computed from data` };
    initial.push(taken);
  }
  const counter = `${stepPrefix}trips`;
  const inputs = body.input ?? [];
  const outputs = body.output ?? [];
  const pick = (list: readonly onnx.ValueInfoProto.$Properties[], offset: number) =>
    states.map((state) => list[state + offset] ?? {});
  const reduced = copyBody(body, {
    node: [
      ...nodes,
      new onnx.NodeProto({ opType: "Identity", input: [inputs[0]?.name ?? ""], output: [counter] }),
    ],
    input: [...inputs.slice(0, 2), ...pick(inputs, 2)],
    output: [...outputs.slice(0, 1), ...pick(outputs, 1), { name: counter }],
    valueInfo: [],
  });
  const captures: Value[] = [];
  const captured = capturedNames(reduced);
  for (const value of node.captures) {
    if (!captured.has(value.name)) continue;
    const taken = take(value);
    if (!taken) return { reason: `its condition depends on "${value.name}", which is computed from data` };
    captures.push(taken);
  }
  const most = small.addInitializer(Tensor.int64(small.freshName("most"), [], [bound]));
  const condition = node.inputs[1];
  const loop = small.addNode({
    opType: "Loop",
    inputs: [most, condition ? (take(condition) ?? null) : null, ...initial],
    outputs: [...states.map((state) => `state ${state}`), "trips"],
    attributes: new Map([["body", { kind: "graph", value: reduced }]]),
    captures,
  });
  small.addOutput(loop.outputs.at(-1) as Value);
  const results = await probe.run(encodeModelProto(graphToProto(small)), new Map(), { optimize: false });
  return results.get("trips")?.dims[0] ?? 0;
}

/** The nodes of a Loop's body that its condition depends on over all trips, and the states that they read. */
function sliceOfCondition(body: onnx.GraphProto.$Properties): {
  nodes: onnx.NodeProto.$Properties[];
  states: number[];
} {
  const makers = new Map(
    (body.node ?? []).flatMap((node) => (node.output ?? []).map((name) => [name, node])),
  );
  const stateOf = new Map((body.input ?? []).slice(2).map(({ name }, state) => [name ?? "", state]));
  const states = new Set<number>();
  const needed = new Set<onnx.NodeProto.$Properties>();
  const open = [body.output?.[0]?.name ?? ""];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const state = stateOf.get(name);
    if (state !== undefined && !states.has(state)) {
      states.add(state);
      open.push(body.output?.[state + 1]?.name ?? "");
    }
    const maker = makers.get(name);
    if (!maker || needed.has(maker)) continue;
    needed.add(maker);
    open.push(...namesRead(maker));
  }
  return {
    nodes: (body.node ?? []).filter((node) => needed.has(node)),
    states: [...states].sort((a, b) => a - b),
  };
}

import type { Probe } from "../../analysis/probe.ts";
import { tripCountOf } from "../../analysis/trip-count.ts";
import { bodyOf } from "../../graph/body-graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { isRead } from "../../graph/reach.ts";
import { Tensor } from "../../onnx/tensor.ts";
import { changes, definePass } from "../pass.ts";
import { Inliner, inlineOptions, isConstant, largestExpansion } from "./inliner.ts";
import { stack, unstack } from "./slices.ts";

/** Why a node stays as it is; undefined when it was expanded. */
type Obstacle = string | undefined;

interface Limits {
  /** Whether a value depends neither on data nor on parameters. */
  readonly constant: (value: Value) => boolean;
  /** How many nodes one Loop or Scan may become. */
  readonly largest: number;
}

/**
 * Writes out every trip of each Loop whose number of trips does not depend on data, and every step of each Scan whose
 * length is known. Another Loop or Scan keeps the reason as its `obstacle`. Bodies inside the bodies stay bodies.
 *
 *     y = Loop(2, true, x) {y = Tanh(x)}  →  h = Tanh(x); y = Tanh(h)
 *
 * For a graph whose shapes are inferred and whose constants are folded.
 * @throws SorthError when the graph grows past 200,000 nodes
 */
export const unrollLoops = definePass({
  name: "unroll-loops",
  options: inlineOptions,
  async run(graph, options, { probe }) {
    const inliner = options.inliner ?? new Inliner(graph, options.external);
    const limits = {
      constant: (value: Value) => isConstant(value, options),
      largest: options.largest ?? largestExpansion,
    };
    let unrolled = 0;
    const reasons: string[] = [];
    for (const node of graph.sorted()) {
      if (node.op === "Loop") node.obstacle = await unrollLoop(inliner, node, probe, limits);
      else if (node.op === "Scan") node.obstacle = unrollScan(inliner, node, limits);
      else continue;
      if (node.obstacle) reasons.push(`${node.op} "${node.label}": ${node.obstacle}`);
      else unrolled++;
    }
    inliner.flush();
    return changes(unrolled, "node", reasons.join("; ") || "there is no Loop and no Scan");
  },
});

/**
 * Writes out every trip of a Loop: states go from one to the next, stacked outputs are concatenated.
 * @returns why it stays a Loop, undefined if it is gone
 */
async function unrollLoop(
  inliner: Inliner,
  node: Node,
  probe: Probe,
  { constant, largest }: Limits,
): Promise<Obstacle> {
  const body = bodyOf(node, "body");
  const size = Math.max(body.node?.length ?? 0, 1);
  const trips = await tripCountOf(inliner.graph, node, probe, constant, Math.floor(largest / size));
  if (typeof trips !== "number") return trips.reason;
  const tooLarge = sizeObstacle(trips, size, largest);
  if (tooLarge) return tooLarge;
  const states = node.inputs.slice(2);
  const stackedOutputs = node.outputs.slice(states.length);
  if (trips === 0 && stackedOutputs.some((output) => isRead(inliner.graph, output))) {
    return "it runs zero times and its stacked output is read";
  }
  const [iteration, condition, ...stateInputs] = (body.input ?? []).map(({ name }) => name ?? "");
  const results = (body.output ?? []).map(({ name }) => name ?? "").slice(1);
  const rankOf = (index: number) => body.input?.[index]?.type?.tensorType?.shape?.dim?.length ?? 0;
  const { label } = node;
  const always = inliner.constant(
    Tensor.of(`${label}/condition`, "bool", Array(rankOf(1)).fill(1), Uint8Array.of(1)),
  );
  let current: (Value | null)[] = states;
  const stacks: Value[][] = stackedOutputs.map(() => []);
  for (let trip = 0; trip < trips; trip++) {
    const index = inliner.constant(Tensor.int64(`${label}/${trip}/trip`, Array(rankOf(0)).fill(1), [trip]));
    const bindings = new Map<string, Value | null>([
      [iteration ?? "", index],
      [condition ?? "", always],
      ...stateInputs.map((name, i) => [name, current[i] ?? null] as const),
    ]);
    const values = inliner.inline(body, `${label}/${trip}`, bindings, results);
    current = values.slice(0, states.length);
    stacks.forEach((stack, i) => {
      stack.push(values[states.length + i] as Value);
    });
  }
  const stacked = stackedOutputs.map((output, i) =>
    output && trips > 0 ? stack(inliner, stacks[i] as Value[], 0, output.name) : null,
  );
  finish(inliner, node, [...current, ...stacked]);
  return undefined;
}

/**
 * Writes out every step of a Scan: its inputs are cut along their axes, in the direction asked for.
 * @returns why it stays a Scan, undefined if it is gone
 */
function unrollScan(inliner: Inliner, node: Node, { largest }: Limits): Obstacle {
  const { graph } = inliner;
  if (graph.opset < 9) return "its form before opset 9 has a batch axis";
  const body = bodyOf(node, "body");
  const scanned = node.int("num_scan_inputs", 1);
  const stateCount = node.inputs.length - scanned;
  const sequences = node.inputs.slice(stateCount);
  const stackedOutputs = node.outputs.slice(stateCount);
  const list = (name: string, length: number) => node.ints(name) ?? Array<number>(length).fill(0);
  const inputAxes = list("scan_input_axes", scanned);
  const inputDirections = list("scan_input_directions", scanned);
  const outputAxes = list("scan_output_axes", stackedOutputs.length);
  const outputDirections = list("scan_output_directions", stackedOutputs.length);
  const steps = sequences[0]?.shape?.at(inputAxes[0] ?? 0);
  if (steps === undefined) return `the length of "${sequences[0]?.name}", which it runs over, is not known`;
  if (steps === 0) return "it runs zero times";
  const tooLarge = sizeObstacle(steps, body.node?.length ?? 0, largest);
  if (tooLarge) return tooLarge;
  const inputs = (body.input ?? []).map(({ name }) => name ?? "");
  const results = (body.output ?? []).map(({ name }) => name ?? "");
  const parts = sequences.map((sequence, i) => {
    const pieces = unstack(
      inliner,
      sequence as Value,
      inputAxes[i] ?? 0,
      steps,
      `${node.label}/${inputs[i + stateCount]}`,
    );
    return inputDirections[i] === 1 ? pieces.reverse() : pieces;
  });
  let current: (Value | null)[] = node.inputs.slice(0, stateCount);
  const stacks: Value[][] = stackedOutputs.map(() => []);
  for (let step = 0; step < steps; step++) {
    const given = [...current, ...parts.map((pieces) => pieces[step] as Value)];
    const bindings = new Map(inputs.map((name, i) => [name, given[i] ?? null]));
    const values = inliner.inline(body, `${node.label}/${step}`, bindings, results);
    current = values.slice(0, stateCount);
    stacks.forEach((pieces, i) => {
      pieces.push(values[stateCount + i] as Value);
    });
  }
  const stacked = stackedOutputs.map((output, i) => {
    const pieces = stacks[i] as Value[];
    if (outputDirections[i] === 1) pieces.reverse();
    return output && stack(inliner, pieces, outputAxes[i] ?? 0, output.name);
  });
  finish(inliner, node, [...current, ...stacked]);
  return undefined;
}

/** Replaces the node; states that it does not return are left out. */
function finish(inliner: Inliner, node: Node, results: readonly (Value | null)[]): void {
  inliner.replace(node, results.slice(0, node.outputs.length));
}

function sizeObstacle(trips: number, nodes: number, largest: number): Obstacle {
  if (trips * nodes <= largest) return undefined;
  return `it would unroll into more than ${largest} nodes (${nodes} at each trip)`;
}

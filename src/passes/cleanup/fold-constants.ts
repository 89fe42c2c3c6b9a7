import { computeValues, constantValues, wantedConstants } from "../../analysis/constant-values.ts";
import type { Probe } from "../../analysis/probe.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Value } from "../../graph/node.ts";
import { elementCount, Tensor } from "../../onnx/tensor.ts";
import { changed, counted, definePass, runGraphPass, unchanged } from "../pass.ts";
import { liftConstants } from "./lift-constants.ts";

/**
 * Turns every value that depends on no data into an initializer: Constant nodes, the Shape and Size of values whose shape is known
 * (at the batch size it was inferred with), and all that follows from them, computed by ONNX Runtime in one run. So the
 * chains of Shape, Gather, Concat by which exporters compute shapes vanish. Integers and flags of any size are stored,
 * floats up to 65,536 elements. Random operators, nodes with bodies and operators outside the standard domain stay.
 * For an inferred graph; nodes without readers are removed, values keep their identity.
 *
 *     n = Gather(Shape(x), 0), x: [64, 8]  →  const n = 64
 *
 * @example
 * await inferShapes(graph, nodeProbe, { batch: 64 });
 * await runPass(foldConstants({ keep: new Set(["fc1.weight"]) }), graph, { emit, probe: nodeProbe });
 */
export const foldConstants = definePass({
  name: "fold-constants",
  options: {
    /** Names of parameters: what is computed from them stays computed, since they change. */
    keep: new Set() as ReadonlySet<string>,
  },
  async run(graph, { keep }, { probe }) {
    const nodes = graph.nodes.length;
    runGraphPass(liftConstants(), graph);
    foldShapes(graph);
    const folded = await store(graph, probe, wantedConstants(graph, constantValues(graph, keep)));
    const gone = graph.prune();
    return nodes > graph.nodes.length || folded + gone > 0
      ? changed(`${nodes} nodes to ${graph.nodes.length}`)
      : unchanged("nothing is computed from constants alone, or it cannot be stored");
  },
});

/**
 * Turns those of the given values that depend on no data into initializers, before shapes are inferred: conditions, which
 * decide what there is to infer.
 *
 *     If(Not(const false))  →  If(const true)
 */
export const foldValues = definePass({
  name: "fold-values",
  options: {
    /** The values to compute. */
    values: [] as readonly Value[],
    /** Names of parameters: what is computed from them stays computed, since they change. */
    keep: new Set() as ReadonlySet<string>,
  },
  async run(graph, { values, keep }, { probe }) {
    foldShapes(graph);
    const constants = constantValues(graph, keep);
    const wanted = values.filter((value) => value.producer && constants.has(value));
    const folded = await store(graph, probe, wanted);
    const gone = graph.prune();
    return folded + gone > 0
      ? changed(counted(folded, "value"))
      : unchanged("none of the values is computed from constants alone");
  },
});

/** Replaces values that depend on no data by their numbers. @returns how many */
async function store(graph: Graph, probe: Probe, values: readonly Value[]): Promise<number> {
  if (values.length === 0) return 0;
  const computed = await computeValues(graph, probe, values);
  for (const value of values) {
    const tensor = computed.get(value.name);
    if (tensor) graph.setConstant(value, tensor);
  }
  return values.length;
}

/** Shape and Size of values whose shape is known. */
function foldShapes(graph: Graph): void {
  for (const node of graph.nodes) {
    const output = node.outputs[0];
    const shape = node.inputs[0]?.shape;
    if (!output || !shape) continue;
    if (node.op === "Shape") {
      const end = node.attributes.has("end") ? node.int("end", 0) : undefined;
      const dims = shape.slice(node.int("start", 0), end);
      graph.setConstant(output, Tensor.int64(output.name, [dims.length], dims));
    } else if (node.op === "Size") {
      graph.setConstant(output, Tensor.int64(output.name, [], [elementCount(shape)]));
    }
  }
}

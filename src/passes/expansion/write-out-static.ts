import { stepPrefix } from "../../analysis/block-nodes.ts";
import { hiddenLayers } from "../../analysis/hidden-sites.ts";
import { inferShapes } from "../../analysis/infer.ts";
import { findParameters } from "../../analysis/parameters.ts";
import type { Probe } from "../../analysis/probe.ts";
import { Emit } from "../../graph/emit.ts";
import type { Graph } from "../../graph/graph.ts";
import { graphOf, modelOf } from "../../graph/model-graph.ts";
import { isFloat } from "../../onnx/data-types.ts";
import type { Model } from "../../onnx/model.ts";
import type { Tensor } from "../../onnx/tensor.ts";
import { equalBytes } from "../../onnx/wire.ts";
import { foldConstants } from "../cleanup/fold-constants.ts";
import { runGraphPass, runPass, runPasses } from "../pass.ts";
import { Inliner } from "./inliner.ts";
import { liftBodyConstants } from "./lift-body-constants.ts";
import { resolveSequences } from "./resolve-sequences.ts";
import { takeBranches } from "./take-branches.ts";
import { unrollLoops } from "./unroll-loops.ts";

/** How many nodes one Loop may become here, where each trip of a layer gets a penalty of its own: 200 trips of an LSTM's ten nodes. */
const largest = 2_000;

/**
 * Writes out the bodies that run the same way whatever lengths the model's free dimensions have: the branch that a constant
 * condition takes, every trip of a Loop whose count the file fixes. Other nodes stay, and a Loop keeps the reason as its `obstacle`.
 * Nothing is written out where no body holds a layer.
 */
export async function writeOutStatic(graph: Graph, model: Model, probe: Probe): Promise<void> {
  if (hiddenLayers(graph).inBodies.length === 0) return;
  const { external } = model;
  runGraphPass(liftBodyConstants({ external }), graph);
  const keep = new Set(findParameters(graph).parameters.map(({ value }) => value.name));
  const inliner = new Inliner(graph, external);
  const passes = [
    takeBranches({ inliner, keep }),
    unrollLoops({ inliner, keep, largest }),
    resolveSequences({ inliner }),
  ];
  do await storeDecisions(graph, model, { keep, probe });
  while (await runPasses(passes, graph, { emit: new Emit(graph, { prefix: stepPrefix }), probe }));
}

/** Stores the integers and flags that follow from constants and fixed lengths alone: they are equal for several lengths. */
async function storeDecisions(
  graph: Graph,
  model: Model,
  { keep, probe }: { readonly keep: ReadonlySet<string>; readonly probe: Probe },
): Promise<void> {
  const folded = async (sizes: Parameters<typeof inferShapes>[2]) => {
    const copy = graphOf(modelOf(graph, model));
    const { others } = await inferShapes(copy, probe, { ...sizes, open: true });
    await runPass(foldConstants({ keep }), copy, { emit: new Emit(copy, { prefix: stepPrefix }), probe });
    return { copy, others };
  };
  const { copy, others } = await folded({});
  const again = await Promise.all(others.map(async (sizes) => (await folded(sizes)).copy));
  for (const value of graph.values) {
    const tensor = copy.value(value.name)?.initializer;
    if (!value.producer || !tensor || isFloat(tensor.type)) continue;
    if (again.every((one) => isEqual(tensor, one.value(value.name)?.initializer)))
      graph.setConstant(value, tensor);
  }
}

const isEqual = (a: Tensor, b: Tensor | undefined): boolean =>
  b !== undefined && a.type === b.type && `${a.dims}` === `${b.dims}` && equalBytes(a.bytes, b.bytes);

import type { DimensionOptions } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import { straightThrough } from "../autodiff/straight-through.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { type PassContext, runPasses } from "../passes/pass.ts";
import { writeOutQuantizers } from "../passes/training/write-out-quantizers.ts";

/**
 * Writes quantized activations in the form through which gradients pass straight.
 * @throws UsageError when nothing in the graph rounds
 */
export async function writeOutRounding(
  graph: Graph,
  dimensions: DimensionOptions,
  context: PassContext,
): Promise<void> {
  await inferShapes(graph, context.probe, dimensions);
  const written = await runPasses([writeOutQuantizers()], graph, context);
  if (written || graph.nodes.some(({ op }) => op in straightThrough)) return;
  throw new UsageError(
    `straightThrough (--straight-through) would have no effect: nothing in the model rounds (${Object.keys(straightThrough).join(", ")}, QuantizeLinear or an operator on quantized activations); leave it out`,
  );
}

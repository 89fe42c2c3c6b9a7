import type { DimensionOptions } from "../analysis/dimensions.ts";
import type { Graph } from "../graph/graph.ts";
import { placeByMask } from "../passes/expansion/place-by-mask.ts";
import { readLastSelected } from "../passes/expansion/read-last-selected.ts";
import { type PassContext, runGraphPass, runPass } from "../passes/pass.ts";
import { writeOutAttention } from "../passes/training/write-out-attention.ts";

/** Writes out what has no derivative as it stands. */
export async function writeOut(
  graph: Graph,
  dimensions: DimensionOptions,
  context: PassContext,
): Promise<void> {
  runGraphPass(readLastSelected(), graph);
  if (graph.nodes.some(({ opType }) => opType === "NonZero"))
    await runPass(placeByMask({ dimensions }), graph, context);
  if (graph.nodes.some(({ opType }) => opType === "GroupQueryAttention"))
    await runPass(writeOutAttention({ dimensions }), graph, context);
}

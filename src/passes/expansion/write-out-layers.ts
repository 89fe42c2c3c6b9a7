import { otherLayerOps } from "../../analysis/other-layers.ts";
import type { Graph } from "../../graph/graph.ts";
import { runGraphPass } from "../pass.ts";

const withoutKernel = /^com\.microsoft\.(FusedMatMulActivation|GemmFastGelu|NhwcFusedConv)$/;

/** Whether a graph holds layers that stock builds of ONNX Runtime run only after {@link writeOutLayers}. */
export const needsWritingOut = ({ nodes }: Graph): boolean => nodes.some(({ op }) => withoutKernel.test(op));

/** Writes layers out whose own responses are no values of the graph, where there are any: see `writeOutProducts`. */
export async function writeOutLayers(graph: Graph): Promise<void> {
  if (!graph.nodes.some(({ op }) => otherLayerOps.has(op))) return;
  const { writeOutProducts } = await import("./write-out-products.ts");
  runGraphPass(writeOutProducts(), graph);
}

import Long from "long";
import { SorthError } from "../errors.ts";
import type { onnx } from "../onnx/schema.js";
import { bodiesOf } from "./bodies.ts";

/**
 * Refuses a Split that states another number of outputs than it has: ONNX Runtime ends the process on it, or fills the memory.
 * @param nodes - those of a graph or of a function
 * @throws SorthError that names the node
 */
export function checkSplits(nodes: readonly onnx.NodeProto.$Properties[]): void {
  for (const node of nodes) {
    for (const body of bodiesOf(node)) checkSplits(body.node ?? []);
    if (node.opType !== "Split" || node.domain) continue;
    const stated = node.attribute?.find(({ name }) => name === "num_outputs")?.i;
    const outputs = node.output ?? [];
    if (stated === undefined || stated === null || Long.fromValue(stated).toNumber() === outputs.length)
      continue;
    throw new SorthError(
      `Split "${node.name || outputs[0]}" states ${stated} outputs (num_outputs) and has ${outputs.length}: the file is damaged, export it again`,
    );
  }
}

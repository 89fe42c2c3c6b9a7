import Long from "long";
import { SorthError } from "../errors.ts";
import { tableOf } from "../lookup.ts";
import type { onnx } from "../onnx/schema.js";
import { bodiesOf } from "./bodies.ts";

/** Attributes by which ONNX Runtime divides while it reads a model, whatever number they hold. */
const divisors: Readonly<Record<string, string>> = tableOf({
  Conv: "group",
  ConvTranspose: "group",
  GatherBlockQuantized: "block_size",
});

/**
 * Refuses nodes on which ONNX Runtime ends the process or fills the memory: a Split that states another number of outputs than
 * it has, and an attribute below 1 by which it divides.
 * @param nodes - those of a graph or of a function
 * @throws SorthError that names the node
 */
export function checkNodes(nodes: readonly onnx.NodeProto.$Properties[]): void {
  for (const node of nodes) {
    for (const body of bodiesOf(node)) checkNodes(body.node ?? []);
    const { opType, domain, name } = node;
    const outputs = node.output ?? [];
    const attribute = (wanted: string | undefined) => node.attribute?.find((one) => one.name === wanted);
    const refuse = (says: string) => {
      throw new SorthError(`${opType} "${name || outputs[0]}" ${says}: the file is damaged, export it again`);
    };
    const divisor = attribute(divisors[opType ?? ""]);
    const number = Long.fromValue(divisor?.i ?? 0).toNumber();
    if (divisor && number < 1) refuse(`has the ${divisor.name} ${number}, which must be 1 or more`);
    if (opType !== "Split" || domain) continue;
    const stated = attribute("num_outputs")?.i ?? undefined;
    if (stated !== undefined && Long.fromValue(stated).toNumber() !== outputs.length)
      refuse(`states ${stated} outputs (num_outputs) and has ${outputs.length}`);
  }
}

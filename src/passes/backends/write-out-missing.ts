import { typed } from "../../graph/emit-base.ts";
import type { Node } from "../../graph/node.ts";
import { isRead } from "../../graph/reach.ts";
import { changes, definePass, type Pass } from "../pass.ts";
import { newerOperators } from "./lower-opset.ts";
import { writtenOut } from "./missing/table.ts";
import type { BackendName } from "./names.ts";
import { type OffDevice, offDevice } from "./off-device.ts";

/**
 * Writes operators out that a device has no kernel for, in operators that it has; also those that would keep the graph from
 * being lowered to an older opset (lower-opset.ts). What has no such form stays.
 *
 *     y = Celu(x) {alpha: 2}  →  y = Relu(x) + 2·(Exp(Min(x, 0)/2) − 1)
 */
export const writeOutMissing = definePass({
  name: "write-out-missing",
  options: {
    /** Operators that do not run on the device, or not in each form. */
    missing: {} as OffDevice,
  },
  run(graph, { missing }, { emit }) {
    const lacks = ({ op }: Node) => missing[op] !== undefined || (graph.opset > 21 && newerOperators.has(op));
    const done = new Set<Node>();
    const renamed: (() => void)[] = [];
    for (const node of graph.nodes) {
      const values = lacks(node) ? writtenOut[node.op]?.(emit, node) : undefined;
      if (!values) continue;
      done.add(node);
      for (const [i, output] of node.outputs.entries()) {
        const value = values[i];
        if (!output || !isRead(graph, output)) continue;
        if (!value) throw new TypeError(`${node.op} "${node.label}" is written out without its output ${i}`);
        const { name } = typed(output);
        graph.replaceUses(output, value, { outputs: true });
        // Values keep their names, by which outputs are read.
        renamed.push(() => graph.rename(value, name));
      }
    }
    graph.removeNodes(done);
    for (const rename of renamed) rename();
    return changes(done.size, "node", "the device has a kernel for every node that can be written out");
  },
});

/** {@link writeOutMissing} of what a backend's device is known to lack. */
export const writeOutMissingOn = (backend: BackendName): Pass<unknown> =>
  writeOutMissing({ missing: offDevice[backend] });

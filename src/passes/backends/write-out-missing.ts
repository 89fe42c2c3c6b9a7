import type { Node } from "../../graph/node.ts";
import { replaceNode } from "../../graph/replace-node.ts";
import { changes, definePass, type Pass } from "../pass.ts";
import { deviceOpset, newerOperators } from "./lower-opset.ts";
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
    const lacks = ({ op }: Node) =>
      missing[op] !== undefined || (graph.opset > deviceOpset && newerOperators.has(op));
    const written = graph.nodes.filter(lacks).filter((node) => {
      const values = writtenOut[node.op]?.(emit, node);
      if (values) replaceNode(graph, node, values);
      return values !== undefined;
    });
    return changes(written.length, "node", "the device has a kernel for every node that can be written out");
  },
});

/** {@link writeOutMissing} of what a backend's device is known to lack. */
export const writeOutMissingOn = (backend: BackendName): Pass<unknown> =>
  writeOutMissing({ missing: offDevice[backend] });

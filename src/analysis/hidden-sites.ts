import type { Graph } from "../graph/graph.ts";
import type { onnx } from "../onnx/schema.js";
import type { SiteOp, SkippedSite } from "./site-types.ts";

/** The layers inside bodies of If, Loop and Scan and inside the model's functions, where the main graph does not show them. */
export function hiddenSites(graph: Graph, ops: ReadonlySet<string>): SkippedSite[] {
  return graph.nodes.flatMap((node) => {
    const bodies = [...node.attributes.values()].flatMap((attribute) =>
      attribute.kind === "graph" ? layersIn(attribute.value, graphNames(graph), ops) : [],
    );
    const called = graph.functions.find(
      ({ name, domain }) => name === node.opType && (domain ?? "") === node.domain,
    );
    const inside = (called?.node ?? []).filter((inner) => isLayer(inner, ops));
    return [
      ...bodies.map((inner) =>
        skip(
          inner,
          `it lies in a body of the ${node.opType} "${node.label}", which no injected block can reach: train penalises it where that can be written out`,
        ),
      ),
      ...inside.map((inner) =>
        skip(
          inner,
          `it lies in the model's function ${node.op}, called by "${node.label}", which needs newer or other operators than the model imports: train penalises it, or export without functions`,
        ),
      ),
    ];
  });
}

const skip = (node: onnx.NodeProto.$Properties, reason: string): SkippedSite => ({
  name: node.name || node.output?.[0] || "",
  op: node.opType as SiteOp,
  reason,
});

const isLayer = ({ domain, opType }: onnx.NodeProto.$Properties, ops: ReadonlySet<string>): boolean =>
  (domain ?? "") === "" && ops.has(opType ?? "");

/** Names of constant data that a body can see from outside. */
const graphNames = (graph: Graph): ReadonlySet<string> => new Set(graph.initializers.map(({ name }) => name));

/** Layer operators in a body (and bodies inside it) that read constant data of the body or of the graphs around it. */
function layersIn(
  body: onnx.GraphProto.$Properties,
  outside: ReadonlySet<string>,
  ops: ReadonlySet<string>,
): onnx.NodeProto.$Properties[] {
  const constant = new Set([...outside, ...(body.initializer ?? []).map(({ name }) => name ?? "")]);
  const found: onnx.NodeProto.$Properties[] = [];
  for (const node of body.node ?? []) {
    if (node.opType === "Constant") for (const output of node.output ?? []) constant.add(output);
    if (isLayer(node, ops) && (node.input ?? []).some((name) => constant.has(name))) found.push(node);
    for (const { g } of node.attribute ?? []) if (g) found.push(...layersIn(g, constant, ops));
  }
  return found;
}

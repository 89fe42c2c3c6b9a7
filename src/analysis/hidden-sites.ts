import { capturedNames } from "../graph/bodies.ts";
import { bodyOf, graphOfBody } from "../graph/body-graph.ts";
import type { Graph } from "../graph/graph.ts";
import { Node, Value } from "../graph/node.ts";
import type { onnx } from "../onnx/schema.js";
import type { SiteOp, SkippedSite } from "./site-types.ts";
import { passing } from "./trace-parameter.ts";

/** A node inside a body of If, Loop or Scan. */
export interface BodyNode {
  /** A copy that reads the graph's own values where the body captures them; it belongs to no graph. */
  readonly node: Node;
  /** The graph's node that holds the body, or a body in the body. */
  readonly holder: Node;
  /** Whether it lies in a branch of an If alone, not in a body that runs several times. */
  readonly once: boolean;
  /** Whether one of its operands is computed from constants inside the body. */
  readonly turned: boolean;
}

/** The nodes of the given operators in the bodies of a graph, and in bodies inside them. */
export function nodesInBodies(graph: Graph, ops: ReadonlySet<string>): BodyNode[] {
  return graph.nodes.flatMap((holder) =>
    inBodiesOf(holder, holder, { graph, ops, once: true }, (value) => value),
  );
}

function inBodiesOf(
  node: Node,
  holder: Node,
  { graph, ops, once }: { readonly graph: Graph; readonly ops: ReadonlySet<string>; readonly once: boolean },
  outside: (value: Value) => Value | undefined,
): BodyNode[] {
  return [...node.attributes].flatMap(([name, { kind }]) => {
    if (kind !== "graph") return [];
    const inner = graphOfBody(node, name, { outer: graph });
    const captured = capturedNames(bodyOf(node, name));
    const read = new Map(node.captures.map((value) => [value.name, value]));
    const find = (value: Value): Value | undefined => {
      const known = captured.has(value.name) ? read.get(value.name) : undefined;
      return known && outside(known);
    };
    const own = { graph: inner, ops, once: once && node.op === "If" };
    const copy = (one: Node) =>
      new Node({ ...one, inputs: one.inputs.map((value) => value && (find(value) ?? standIn(value))) });
    return inner.nodes.flatMap((one) => {
      const turned = one.inputs.slice(0, 2).some((value) => value?.producer && leadsToConstant(value));
      return [
        ...(ops.has(one.op) ? [{ node: copy(one), holder, once: own.once, turned }] : []),
        ...inBodiesOf(one, holder, own, find),
      ];
    });
  });
}

/** A value of a body outside of it, where nothing computes it. */
function standIn({ name, type, initializer, shape }: Value): Value {
  const value = new Value(name, type);
  return initializer ? Object.assign(value, { initializer, shape }) : value;
}

function leadsToConstant(value: Value): boolean {
  const { producer, initializer } = value;
  if (!producer) return initializer !== undefined;
  const [source] = producer.inputs;
  if (producer.op === "Constant") return true;
  return passing.has(producer.op) && !!source && leadsToConstant(source);
}

/** Why nothing outside of a body can read the responses of a layer in it. */
export function reasonInBody({ holder, once }: BodyNode): string {
  const { op, label, obstacle } = holder;
  const where = `it lies in a body of the ${op} "${label}"`;
  if (once)
    return `${where}, whose condition data decides: its responses are there only in runs that take that branch, and penalties on weights take it (so, som:rows=random, som:angles=weights)`;
  return `${where}, inside of which its responses stay${obstacle ? ` (${obstacle})` : ""}: penalties on weights take it (so, som:rows=random, som:angles=weights), and train penalises its responses where the number of trips follows from --batch and --dim`;
}

/** Why a layer in a body takes no penalty whose weight is computed there. */
export const computedInBody = ({ holder: { op, label } }: BodyNode): string =>
  `its weight is transposed or converted inside a body of the ${op} "${label}": store it as the layer reads it (torch.onnx.export: do_constant_folding=True)`;

/** The layers inside the model's functions that are left as calls. */
export function layersInFunctions(graph: Graph, ops: ReadonlySet<string>): SkippedSite[] {
  return graph.nodes.flatMap((node) => {
    const called = graph.functions.find(
      ({ name, domain }) => name === node.opType && (domain ?? "") === node.domain,
    );
    return (called?.node ?? [])
      .filter((inner) => isLayer(inner, ops))
      .map((inner) => ({
        name: inner.name || inner.output?.[0] || "",
        op: inner.opType as SiteOp,
        reason: `it lies in the model's function ${node.op}, called by "${node.label}", which needs newer or other operators than the model imports: train penalises it, or export without functions`,
      }));
  });
}

const isLayer = ({ domain, opType }: onnx.NodeProto.$Properties, ops: ReadonlySet<string>): boolean =>
  (domain ?? "") === "" && ops.has(opType ?? "");

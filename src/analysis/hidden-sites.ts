import { capturedNames } from "../graph/bodies.ts";
import { bodyOf, graphOfBody } from "../graph/body-graph.ts";
import type { Graph } from "../graph/graph.ts";
import { Node, Value } from "../graph/node.ts";
import type { onnx } from "../onnx/schema.js";
import { otherLayerOps } from "./other-layers.ts";
import type { BodyNode, HiddenLayers, SiteOp, SkippedSite } from "./site-types.ts";
import { siteOps } from "./sites.ts";
import { passing } from "./trace-parameter.ts";

/** The layers that the main graph does not show: those in bodies, and those in functions that are left as calls. */
export function hiddenLayers(graph: Graph): HiddenLayers {
  const ops = new Set([...siteOps, ...otherLayerOps]);
  return { inBodies: nodesInBodies(graph, ops), inFunctions: layersInFunctions(graph, ops) };
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
        ...(ops.has(one.op) ? [{ node: copy(one), holder, ...reasons(holder, own.once, turned) }] : []),
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

/**
 * Why nothing outside of a body can read the responses of a layer in it, and why its weight cannot be read either, if so.
 * @param once - whether it lies in a branch of an If alone, not in a body that runs several times
 * @param turned - whether its weight is computed from constants inside the body
 */
function reasons(
  { op, label, obstacle }: Node,
  once: boolean,
  turned: boolean,
): Pick<BodyNode, "reason" | "refused"> {
  const body = `a body of the ${op} "${label}"`;
  const weights = "penalties on weights take it (so, som:rows=random, som:angles=weights)";
  return {
    reason: once
      ? `it lies in ${body}, whose condition data decides: its responses are there only in runs that take that branch, and ${weights}`
      : `it lies in ${body}, inside of which its responses stay${obstacle ? ` (${obstacle})` : ""}: ${weights}, and train penalises its responses where the number of trips follows from --batch and --dim`,
    ...(turned && {
      refused: `its weight is transposed or converted inside ${body}: store it as the layer reads it (torch.onnx.export: do_constant_folding=True)`,
    }),
  };
}

/** The layers inside the model's functions that are left as calls. */
function layersInFunctions(graph: Graph, ops: ReadonlySet<string>): SkippedSite[] {
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

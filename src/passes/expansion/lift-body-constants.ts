import { bodiesOf, copyBody, copyNode, mapBodies, ownNames, renameCaptures } from "../../graph/bodies.ts";
import type { Graph } from "../../graph/graph.ts";
import { isFloat } from "../../onnx/data-types.ts";
import type { onnx } from "../../onnx/schema.js";
import { type ExternalReader, elementCount, Tensor } from "../../onnx/tensor.ts";
import { changes, defineGraphPass } from "../pass.ts";

type Body = onnx.GraphProto.$Properties;

/** Moves a tensor of a body out; returns its name there. */
type Lift = (proto: onnx.TensorProto.$Properties, name: string, label: string, fromNode: boolean) => string;

/**
 * Moves the initializers of bodies, and float tensors in their Constant nodes, out into the graph, where they can be
 * parameters: bodies then capture them. Each keeps its name; where another value has that name too, the node's name
 * is put before it.
 * The names are the same for the same file every time.
 *
 *     Loop(…) {body: const w; y = MatMul(x, w)}  →  const w; Loop(…) {body: y = MatMul(x, w)} captures w
 *
 * @example
 * runGraphPass(liftBodyConstants(), graph);
 * findParameters(graph).parameters; // weights inside a Loop too
 */
export const liftBodyConstants = defineGraphPass({
  name: "lift-body-constants",
  options: {
    /** Reads tensors of bodies that lie in other files. */
    external: undefined as ExternalReader | undefined,
  },
  run(graph, { external }) {
    const uses = new Map<string, number>();
    const count = (name: string) => uses.set(name, (uses.get(name) ?? 0) + 1);
    for (const { name } of graph.values) count(name);
    for (const node of graph.nodes) {
      for (const { value } of graphAttributes(node.attributes))
        for (const name of namesIn(value)) count(name);
    }
    const lifted = new Map<onnx.TensorProto.$Properties, string>();
    const lift: Lift = (proto, name, label, fromNode) => {
      const known = lifted.get(proto);
      if (known !== undefined) return known;
      const fresh = graph.freshName(uses.get(name) === 1 ? name : `${label}/${name}`);
      graph.addInitializer(Tensor.fromProto(proto, external).named(fresh)).fromNode = fromNode;
      lifted.set(proto, fresh);
      return fresh;
    };
    for (const node of graph.nodes) {
      const bodies = graphAttributes(node.attributes);
      const emptied = bodies.map(({ name, value }) => [name, emptiedBody(value, node.label, lift)] as const);
      if (emptied.some(([, body], index) => body !== bodies[index]?.value))
        graph.setBodies(node, new Map(emptied));
    }
    return changes(lifted.size, "constant", "no body holds a constant that could be a parameter");
  },
});

const graphAttributes = (attributes: Graph["nodes"][number]["attributes"]) =>
  [...attributes].flatMap(([name, attribute]) =>
    attribute.kind === "graph" ? [{ name, value: attribute.value }] : [],
  );

/** Every name that a body and the bodies inside it define. */
const namesIn = (body: Body): string[] => [
  ...ownNames(body),
  ...(body.node ?? []).flatMap((node) => bodiesOf(node).flatMap(namesIn)),
];

/** A body that captures what it held as constants. */
function emptiedBody(body: Body, label: string, lift: Lift): Body {
  const inside = (node: onnx.NodeProto.$Properties) =>
    bodiesOf(node).length === 0
      ? node
      : copyNode(node, {
          attribute: mapBodies(node, (inner) =>
            emptiedBody(inner, `${label}/${node.name || node.opType}`, lift),
          ),
        });
  const inputs = new Set((body.input ?? []).map(({ name }) => name ?? ""));
  const outputs = new Set((body.output ?? []).map(({ name }) => name ?? ""));
  // An output of the body has to be computed in it.
  const free = (name: string) => !inputs.has(name) && !outputs.has(name);
  const names = new Map<string, string>();
  const initializer = (body.initializer ?? []).filter((tensor) => {
    const name = tensor.name ?? "";
    if (!free(name)) return true;
    names.set(name, lift(tensor, name, label, false));
    return false;
  });
  const node = (body.node ?? []).filter((candidate) => {
    const constant = weightIn(candidate);
    const [name = ""] = candidate.output ?? [];
    if (!constant || !free(name)) return true;
    names.set(name, lift(constant, name, label, true));
    return false;
  });
  const changed = copyBody(body, { initializer, node: node.map(inside) });
  const nested = changed.node?.some((inner, index) => inner !== node[index]);
  return names.size > 0 || nested ? renameCaptures(changed, names) : body;
}

/** The tensor of a Constant node that could be a parameter: floats, more than one. */
function weightIn({ opType, domain, attribute }: onnx.NodeProto.$Properties) {
  if (opType !== "Constant" || domain) return undefined;
  const floats = attribute?.find(({ name }) => name === "value_floats")?.floats;
  if (floats && floats.length > 1) return Tensor.float("", [floats.length], floats).toProto();
  const tensor = attribute?.find(({ name }) => name === "value")?.t;
  if (!tensor) return undefined;
  const { type, dims } = Tensor.fromProto(tensor);
  return isFloat(type) && elementCount(dims) > 1 ? tensor : undefined;
}

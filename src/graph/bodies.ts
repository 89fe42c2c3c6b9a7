import { onnx } from "../onnx/schema.js";

/** The bodies of a node: graphs in its attributes (branches of If, the body of Loop, Scan and SequenceMap). */
export function bodiesOf(node: onnx.NodeProto.$Properties): onnx.GraphProto.$Properties[] {
  return (node.attribute ?? []).flatMap((attribute) => [
    ...(attribute.g ? [attribute.g] : []),
    ...(attribute.graphs ?? []),
  ]);
}

/** Names that a body defines itself, without those of nested bodies. */
export function ownNames(body: onnx.GraphProto.$Properties): Set<string> {
  const own = new Set<string>();
  for (const input of body.input ?? []) own.add(input.name ?? "");
  for (const tensor of body.initializer ?? []) own.add(tensor.name ?? "");
  for (const sparse of body.sparseInitializer ?? []) own.add(sparse.values?.name ?? "");
  for (const node of body.node ?? []) for (const output of node.output ?? []) own.add(output);
  own.delete("");
  return own;
}

/** Names that a body (of If, Loop, Scan) or its nested bodies read from outside. */
export function capturedNames(body: onnx.GraphProto.$Properties): Set<string> {
  const own = ownNames(body);
  const read = new Set<string>();
  for (const node of body.node ?? []) for (const name of namesRead(node)) read.add(name);
  for (const output of body.output ?? []) read.add(output.name ?? "");
  return new Set([...read].filter((name) => name !== "" && !own.has(name)));
}

/** Names that a node reads: its inputs, and the names that its bodies capture. */
export function namesRead(node: onnx.NodeProto.$Properties): string[] {
  return [...(node.input ?? []), ...bodiesOf(node).flatMap((body) => [...capturedNames(body)])];
}

/**
 * A copy of a body that reads other names from outside. If a name that the body defines would clash with one of them,
 * that name gets an apostrophe.
 *
 * @example
 * renameCaptures(body, new Map([["h", "loop/3/h"]])); // every Relu(h) becomes Relu(loop/3/h)
 */
export function renameCaptures(
  body: onnx.GraphProto.$Properties,
  names: ReadonlyMap<string, string>,
): onnx.GraphProto.$Properties {
  const captured = capturedNames(body);
  const renamed = new Map([...names].filter(([from, to]) => captured.has(from) && from !== to));
  if (renamed.size === 0) return body;
  const own = ownNames(body);
  const taken = new Set([...captured, ...own, ...renamed.values()]);
  const targets = new Set(renamed.values());
  for (const name of own) {
    if (!targets.has(name)) continue;
    let free = `${name}'`;
    while (taken.has(free)) free += "'";
    taken.add(free);
    renamed.set(name, free);
  }
  const rename = (name: string | null | undefined) => renamed.get(name ?? "") ?? name ?? "";
  const renameInfo = (info: onnx.ValueInfoProto.$Properties) =>
    renamed.has(info.name ?? "") ? new onnx.ValueInfoProto({ ...info, name: rename(info.name) }) : info;
  return copyBody(body, {
    input: (body.input ?? []).map(renameInfo),
    output: (body.output ?? []).map(renameInfo),
    valueInfo: (body.valueInfo ?? []).map(renameInfo),
    initializer: (body.initializer ?? []).map((tensor) =>
      renamed.has(tensor.name ?? "")
        ? new onnx.TensorProto({ ...tensor, name: rename(tensor.name) })
        : tensor,
    ),
    node: (body.node ?? []).map((node) =>
      copyNode(node, {
        input: (node.input ?? []).map(rename),
        output: (node.output ?? []).map(rename),
        attribute: mapBodies(node, (inner) => renameCaptures(inner, renamed)),
      }),
    ),
  });
}

/** The attributes of a node with each body replaced by the result of a function. */
export function mapBodies(
  node: onnx.NodeProto.$Properties,
  change: (body: onnx.GraphProto.$Properties) => onnx.GraphProto.$Properties,
): onnx.AttributeProto.$Properties[] {
  return (node.attribute ?? []).map((attribute) => {
    if (!attribute.g && !attribute.graphs?.length) return attribute;
    return new onnx.AttributeProto({
      ...attribute,
      ...(attribute.g ? { g: change(attribute.g) } : {}),
      graphs: (attribute.graphs ?? []).map(change),
    });
  });
}

/** A copy of a body with some fields changed. */
export const copyBody = (
  body: onnx.GraphProto.$Properties,
  changes: onnx.GraphProto.$Properties,
): onnx.GraphProto => new onnx.GraphProto({ ...body, ...changes });

/** A copy of a node message with some fields changed. */
export const copyNode = (
  node: onnx.NodeProto.$Properties,
  changes: onnx.NodeProto.$Properties,
): onnx.NodeProto => new onnx.NodeProto({ ...node, ...changes });

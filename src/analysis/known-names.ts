import type { Node, Value } from "../graph/node.ts";
import { foldedFrom, isAnonymous, longestNote, textsIn } from "./exporter-names.ts";
import { productBefore, type Readings } from "./readings.ts";
import type { Role } from "./roles.ts";

/** Metadata key under which PyTorch's exporter lists the modules around a node, outermost first, and the operator. */
const scopesKey = "pkg.torch.onnx.name_scopes";

/** PyTorch's attribute name for each role in a module. */
const attributeOf: Partial<Record<Role, string>> = {
  weight: "weight",
  scale: "weight",
  embedding: "weight",
  slope: "weight",
  bias: "bias",
};

/** Whether the exporter has noted the module that a node belongs to. */
export const isNoted = (node: Node): boolean => node.metadata.has(scopesKey);

/**
 * The module that a node belongs to, by its name in the source: from the dynamo exporter's metadata, or from the path in the
 * node's name that TorchScript (`/layer1/layer1.0/conv1/Conv` is `layer1.0.conv1`) and tf2onnx (`model/dense/MatMul`) write.
 */
export function moduleOf(node: Node): string | undefined {
  const noted = node.metadata.get(scopesKey);
  if (noted !== undefined) return textsIn(noted).slice(1, -1).at(-1) || undefined;
  const path = node.name.slice(0, longestNote).split("/").slice(0, -1);
  const fromRoot = path[0] === "";
  const parts: string[] = [];
  for (const part of fromRoot ? path.slice(1) : path) {
    // A module in a list has the list's name in front of its own.
    if (part.startsWith(`${parts.at(-1)}.`)) parts.pop();
    parts.push(part);
  }
  return parts.join(fromRoot ? "." : "/") || undefined;
}

/** Every name that a user may use for a layer: its own, its module's, and for Keras the module's without the model's name. */
export function namesOfNode(node: Node): string[] {
  const module = moduleOf(node);
  const inModel = module?.includes("/") ? [module.slice(module.indexOf("/") + 1)] : [];
  return [node.label, ...(module === undefined ? [] : [module]), ...inModel];
}

/** Every name that a user may use for a parameter: its own, those of the source, and those of the layers that read it. */
export function namesOfValue(value: Value, readings: Readings): string[] {
  const names = new Set([value.name, ...foldedFrom(value)]);
  for (const { node, index, role } of readings.of(value)) {
    const attribute = attributeOf[role];
    const added = role === "bias" && node.op === "Add" ? node.inputs[1 - index] : undefined;
    const product = productBefore(added) ?? added?.producer;
    for (const reader of product ? [node, product] : [node]) {
      for (const name of namesOfNode(reader)) {
        names.add(name);
        if (attribute && name !== reader.label) names.add(`${name}.${attribute}`);
      }
    }
  }
  return [...names];
}

/** Every name that a user may use for a layer that can take a penalty: those of its node, its weight and its bias. */
export function namesOfLayer(node: Node, weight: Value, bias: Value | undefined): string[] {
  const own = namesOfNode(node);
  const module = own.slice(1).flatMap((name) => [`${name}.weight`, ...(bias ? [`${name}.bias`] : [])]);
  const values = [weight, ...(bias ? [bias] : [])].flatMap((value) => [value.name, ...foldedFrom(value)]);
  return [...new Set([...own, ...module, ...values])];
}

/** The source's name of a value that the exporter renamed (`val_13`, `onnx::MatMul_40`); undefined if not known. */
export function sourceNameOf(value: Value, readings: Readings): string | undefined {
  const [first] = foldedFrom(value);
  if (first !== undefined) return first;
  if (!isAnonymous(value)) return undefined;
  for (const { node, role } of readings.of(value)) {
    const [module, attribute] = [moduleOf(node), attributeOf[role]];
    if (module !== undefined && attribute !== undefined) return `${module}.${attribute}`;
  }
  return undefined;
}

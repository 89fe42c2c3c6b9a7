import { addedOutputs, type Block } from "../block/block.ts";
import { strip, stripBlock } from "../block/strip.ts";
import { tapsKey } from "../block/taps-mark.ts";
import { listed } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { encodeNodeProto, encodeTensorProto, encodeValueInfoProto } from "../onnx/codec.ts";
import type { Model } from "../onnx/model.ts";
import type { onnx } from "../onnx/schema.js";
import { sameContents } from "../onnx/stored.ts";
import { equalBytes } from "../onnx/wire.ts";
import { check, note, type VerifyCheck } from "./report.ts";

/** Checks that everything of the original is still there and that the whole block is used. */
export function checkStructure(original: Model, injected: Model, graph: Graph, block: Block): VerifyCheck[] {
  const tapped = original.proto.metadataProps?.some(({ key }) => key === tapsKey);
  const stripped = tapped ? stripBlock(injected) : strip(injected);
  const same = sameContents(stripped.pieces, original.pieces);
  const before: onnx.GraphProto.$Properties = original.proto.graph ?? {};
  const after: onnx.GraphProto.$Properties = same ? before : (stripped.proto.graph ?? {});
  const kinds = [
    { kind: "nodes", a: before.node, b: after.node, encode: encodeNodeProto },
    { kind: "initializers", a: before.initializer, b: after.initializer, encode: encodeTensorProto },
    { kind: "inputs", a: before.input, b: after.input, encode: encodeValueInfoProto },
    { kind: "outputs", a: before.output, b: after.output, encode: encodeValueInfoProto },
  ] as const;
  const unchanged = kinds.map(({ kind, a, b, encode }): VerifyCheck => {
    const changed = same ? [] : differences(a ?? [], b ?? [], encode as Encode);
    const detail =
      changed.length > 0 ? `changed: ${listed(changed)}` : `all ${a?.length ?? 0} are as they were`;
    return check(`${kind} unchanged`, changed.length === 0, detail);
  });
  const bytes = same
    ? check("strip restores the file", true, `${original.size} bytes, all the same`)
    : note("strip restores the file", "not byte for byte: a tool has written the file since inject");
  return [...unchanged, bytes, checkUse(graph, block)];
}

type Encode = (message: Named) => Uint8Array;
type Named = { readonly name?: string | null; readonly output?: string[] | null };

/** Names of the messages that are missing, added or different, in order. */
function differences(a: readonly Named[], b: readonly Named[], encode: Encode): string[] {
  const names: string[] = [];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [one, other] = [a[i], b[i]];
    if (one && other && equalBytes(encode(one), encode(other))) continue;
    const named = one ?? other;
    names.push(named?.name || named?.output?.[0] || `number ${i}`);
  }
  return names;
}

/** Checks that every node of the block leads to one of its outputs, and that no other node reads the block. */
function checkUse(graph: Graph, block: Block): VerifyCheck {
  const added = addedOutputs(block.mark);
  const roots = graph.outputs.filter((output) => added.has(output.name) || output === block.loss?.total);
  const used = new Set<unknown>();
  const open = roots.flatMap(({ producer }) => producer ?? []);
  for (let node = open.pop(); node; node = open.pop()) {
    if (used.has(node) || !block.nodes.has(node)) continue;
    used.add(node);
    for (const input of [...node.inputs, ...node.captures]) if (input?.producer) open.push(input.producer);
  }
  const unused = [...block.nodes].filter((node) => !used.has(node)).map(({ label }) => label);
  const readers = graph.nodes.filter(
    (node) =>
      !block.nodes.has(node) &&
      node.inputs.some((input) => input?.producer && block.nodes.has(input.producer)),
  );
  const problems = [
    ...(added.size > roots.length ? ["an output of the block is missing"] : []),
    ...(unused.length > 0 ? [`unused: ${listed(unused)}`] : []),
    ...(readers.length > 0 ? [`read by the model itself: ${listed(readers.map(({ label }) => label))}`] : []),
  ];
  const fine = `all ${block.nodes.size} nodes lead to ${listed(roots.map(({ name }) => name))}`;
  return check("block used", problems.length === 0, problems.join("; ") || fine);
}

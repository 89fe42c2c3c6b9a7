import Long from "long";
import { adapterParameters } from "../analysis/adapter-names.ts";
import { isInjected } from "../analysis/block-nodes.ts";
import { openLengths } from "../analysis/cache-inputs.ts";
import { type DimensionOptions, usualLength } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import { dimensionNames } from "../analysis/option-names.ts";
import type { Probe } from "../analysis/probe.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { renameInNode } from "../block/rename-record.ts";
import { conversionOf, withConversion } from "../data/conversion.ts";
import { messageOf, SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { descendantsOf } from "../graph/reach.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, count, seedNumber } from "../numbers.ts";
import { decodeTensorProto, decodeValueInfoProto, encodeValueInfoProto } from "../onnx/codec.ts";
import { initializerRecord } from "../onnx/encode-in-pieces.ts";
import { Model } from "../onnx/model.ts";
import { tensorOf } from "../onnx/random-tensors.ts";
import type { onnx } from "../onnx/schema.js";
import { payloadOf, splice } from "../onnx/splice.ts";
import type { Chunk } from "../onnx/stored.ts";
import { byteLengthOf, elementCount, externalReference, largeBytes, type Tensor } from "../onnx/tensor.ts";
import { bytesField, type FieldRecord, graphFields } from "../onnx/wire.ts";
import { Random } from "../random.ts";
import { whatIs } from "../what-is.ts";
import { classifierOutput, findHeads, type Head, type HeadParameter, storedAt } from "./find-head.ts";

/** Options of `replaceHead`. */
export interface HeadOptions extends DimensionOptions {
  /** How many classes, or their names in the order of their labels; the names are stored in the file, and `predict` writes them. */
  readonly classes: number | readonly string[];
  /** The output (or inner value) that the classifier computes; default: the first output of floats. */
  readonly prediction?: string;
  /** Seed of the new weights; default 0. */
  readonly seed?: number;
  /** Receives a sentence that names the layer. */
  readonly onMessage?: (message: string) => void;
}

const optionNames = {
  ...dimensionNames,
  ...{ classes: true, prediction: "text", seed: true, onMessage: "function" },
} as const satisfies OptionNames<HeadOptions>;

/** A stored tensor that becomes another one. */
interface Replacement {
  readonly value: Value;
  readonly tensor: Tensor;
  readonly reader: HeadParameter["reader"];
}

/** The last layers of a graph. @throws SorthError where there is none, and where adapters beside the layers would leave the new one untrained */
function headsOf(graph: Graph, output: string): Head[] {
  const trained = adapterParameters(graph);
  const withAdapters =
    trained &&
    new UsageError(
      "the model has adapters beside its layers, and a new last layer would not be trained with them: merge them first (sorth-onnx merge), or give the original its new classes and train that with adapters (train --classes … --lora)",
    );
  try {
    const heads = findHeads(graph.valueNamed(output));
    if (!withAdapters || heads.every(({ weight }) => trained.has(weight.value.name))) return heads;
  } catch (error) {
    throw withAdapters ?? error;
  }
  throw withAdapters;
}

/** Gives a model new classes. `HeadFunctions.replaceHead` documents it. */
export async function replaceHead(model: Model, options: HeadOptions, probe: Probe): Promise<Model> {
  checkKnown("replaceHead", options, optionNames);
  const { classes, prediction, seed = 0, onMessage } = options;
  if (typeof classes !== "number" && !Array.isArray(classes)) {
    throw new UsageError(
      `classes of replaceHead are their number, or a list of their names, not ${whatIs(classes)}`,
    );
  }
  const names = typeof classes === "number" ? undefined : classes;
  const units = typeof classes === "number" ? classes : classes.length;
  checkNumber("the number of classes", units, count);
  checkNumber("the seed", seed, seedNumber);
  const twice = names?.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new UsageError(`two classes are called "${twice}"`);

  const before = graphOf(model);
  checkNoArtifact(before);
  if (isInjected(before)) {
    throw new SorthError("the model has an injected penalty: strip it first, then inject again");
  }
  const lengths = await withLengths(before, probe, options);
  const after = graphOf(model);
  const output = classifierOutput(before, prediction);
  const heads = headsOf(after, output.name);
  const [head] = heads as [Head];
  const counts = (why: string) =>
    new SorthError(
      `the model cannot have ${units} classes: something behind its last layer, ${head.node.op} "${head.node.label}", counts on ${head.units} (${why})`,
    );
  const random = new Random("head", seed);
  const replaced = heads.flatMap((one) => [...newParameters(one, units, random), ...newShapes(one, units)]);
  const renamed = apply(after, replaced);
  try {
    await inferShapes(after, probe, lengths);
  } catch (error) {
    throw counts(messageOf(error));
  }
  if (picksUnits(head, units, [output.shape, after.value(output.name)?.shape]))
    throw counts("it reads some of them alone, or those of several layers in a row");
  for (const { node, fanIn, units: former } of heads)
    onMessage?.(
      `new head: ${node.op} "${node.label}" has ${units} new units of ${fanIn} weights in the place of ${former}`,
    );
  const changed = spliced(model, { before, after, replaced, renamed });
  const former = conversionOf(model);
  if (!names && !former?.classes && !former?.objective) return changed;
  const { classes: _, summary: __, objective: ___, ...rest } = former ?? { version: 1 as const };
  return withConversion(changed, { ...rest, ...(names && { classes: names }) });
}

/**
 * Infers shapes; lengths that neither the file nor the caller gives (tokens, pixels) are tried with usual ones, because the new
 * classes do not depend on them. A decoder has no former tokens then: onnxruntime-web refuses lengths that contradict each other.
 * @returns the lengths
 * @throws SorthError that asks for the lengths, if the model does not run with usual ones
 */
async function withLengths(graph: Graph, probe: Probe, options: DimensionOptions): Promise<DimensionOptions> {
  try {
    await inferShapes(graph, probe, options);
    return options;
  } catch (error) {
    const missing = openLengths(graph, options);
    if (missing.length === 0) throw error;
    const usual = Object.fromEntries(missing.map((name) => [name, usualLength(name)]));
    const lengths = { ...options, dims: { ...usual, ...options.dims } };
    await inferShapes(graph, probe, lengths).catch(() => {
      throw error;
    });
    return lengths;
  }
}

/** Whether a Gather or Concat between the layer and the output picks or lines up units: then the output has no axis that was the units'. */
function picksUnits(
  { behind, units: had }: Head,
  units: number,
  [former, present]: readonly (readonly unknown[] | undefined)[],
): boolean {
  if (!behind.some(({ opType }) => /^(Gather|Concat)/.test(opType))) return false;
  return !former?.includes(had) || (had !== units && former.join() === present?.join());
}

/** Fresh numbers, as torch.nn.Linear and torch.nn.Conv2d draw them: uniform in ±1/√fanIn, the bias too. */
function newParameters({ weight, bias, fanIn }: Head, units: number, random: Random): Replacement[] {
  const bound = 1 / Math.sqrt(fanIn);
  return [weight, ...(bias ? [bias] : [])].map(({ value, tensor, axis, reader }) => {
    const dims = tensor.dims.map((dim, i) => (i === axis ? units : dim));
    const numbers = Array.from({ length: elementCount(dims) }, () => bound * (2 * random.uniform() - 1));
    return { value, reader, tensor: tensorOf(value.name, tensor.type, dims, numbers) };
  });
}

/** Shapes that a Reshape or Resize behind the layer reads, with the new number of classes. */
function newShapes({ behind, units: old }: Head, units: number): Replacement[] {
  return behind.flatMap((node): Replacement[] => {
    const resizes = node.opType === "Resize";
    const [shape] = resizes ? sizesAt(node) : node.opType === "Reshape" ? shapesAt(node) : [];
    if (!shape) return [];
    const dims = Array.from(shape.tensor.numbers());
    // An image may be as high or wide as there are classes: its lengths come after them.
    const at = resizes ? dims.indexOf(old, 1) : dims.lastIndexOf(old);
    if (at < 0) return [];
    const numbers = dims.map((dim, i) => (i === at ? units : dim));
    return [{ ...shape, tensor: tensorOf(shape.value.name, shape.tensor.type, [numbers.length], numbers) }];
  });
}

/** The stored lengths of all axes that a Resize reads, as PyTorch writes them for a fixed batch. */
function sizesAt(resize: Node): Omit<HeadParameter, "axis">[] {
  const stored = resize.ints("axes") ? undefined : storedAt(resize, 3);
  return stored ? [stored] : [];
}

/** The stored lengths that a Reshape reads, the last first: its shape, or parts of a Concat that makes it, as for Keras's Dense on sequences. */
function shapesAt(reshape: Node): Omit<HeadParameter, "axis">[] {
  const stored = storedAt(reshape, 1);
  if (stored) return [stored];
  let maker = reshape.inputs[1]?.producer;
  while (maker?.op === "Cast") maker = maker.inputs[0]?.producer;
  if (maker?.op !== "Concat") return [];
  const concat = maker;
  return concat.inputs.flatMap((_, i) => storedAt(concat, i) ?? []).reverse();
}

/**
 * Changes the graph. A tensor that something else reads too keeps its numbers: the reader gets a tensor of its own.
 * @returns the nodes that read other names, with the old and the new ones
 */
function apply(graph: Graph, replaced: Replacement[]): Renamed {
  const renamed = new Map<Node, (readonly [string, string])[]>();
  for (const [i, { value, tensor, reader }] of replaced.entries()) {
    if (value.initializer && value.uses.size === 1) {
      value.initializer = tensor;
      value.shape = tensor.dims;
      if (value.declared) value.declared = tensor.dims;
      continue;
    }
    const own = graph.addInitializer(tensor.named(graph.freshName(`${value.name}.head`)));
    renamed.set(reader.node, [...(renamed.get(reader.node) ?? []), [value.name, own.name]]);
    graph.setInput(reader, own);
    replaced[i] = { value: own, tensor, reader };
  }
  return renamed;
}

/** Nodes that read other names: each old name with the new one. */
type Renamed = ReadonlyMap<Node, readonly (readonly [string, string])[]>;

interface Changes {
  readonly before: Graph;
  readonly after: Graph;
  readonly replaced: readonly Replacement[];
  readonly renamed: Renamed;
}

/** The model's file with the records of the head changed; all other bytes stay. */
function spliced(model: Model, { before, after, replaced, renamed }: Changes): Model {
  const { layout } = model;
  const replace = new Map<FieldRecord, Uint8Array | Chunk[] | null>();
  const recordsOf = (field: number) => layout.graph.filter((record) => record.field === field);
  const apart: string[] = [];
  const open = new Map(replaced.map(({ value, tensor }) => [value.name, tensor.named(value.name)]));
  for (const record of recordsOf(graphFields.initializer)) {
    const former = decodeTensorProto(payloadOf(layout, record));
    const name = former.name ?? "";
    const tensor = open.get(name);
    if (tensor) replace.set(record, initializerRecord(tensor));
    open.delete(name);
    if (!tensor || !externalReference(former)) continue;
    if (byteLengthOf(tensor.type, tensor.dims) >= largeBytes) apart.push(name);
  }
  const nodes = recordsOf(graphFields.node);
  after.nodes.forEach((node, i) => {
    const [record, names] = [nodes[i], renamed.get(node)];
    if (!record || !names) return;
    const payload = names.reduce((bytes, pair) => renameInNode(bytes, ...pair), payloadOf(layout, record));
    replace.set(record, bytesField(graphFields.node, payload));
  });
  const lengthsOf = (name: string): Lengths => {
    const [old, now] = [before.value(name)?.shape, after.value(name)?.shape];
    return (axis) => (old?.[axis] === now?.[axis] ? undefined : now?.[axis]);
  };
  for (const record of [...recordsOf(graphFields.output), ...recordsOf(graphFields.input)]) {
    const declared = decodeValueInfoProto(payloadOf(layout, record));
    if (setLengths(declared, lengthsOf(declared.name ?? ""))) {
      replace.set(record, bytesField(record.field, encodeValueInfoProto(declared)));
    }
  }
  // The file's notes of shapes are out of date for the layer's parameters and all that depends on them.
  const behind = descendantsOf(replaced.map(({ value }) => value));
  for (const record of recordsOf(graphFields.valueInfo)) {
    const value = after.value(decodeValueInfoProto(payloadOf(layout, record)).name ?? "");
    if (value && behind.has(value)) replace.set(record, null);
  }
  return Model.spliced(
    splice(layout, {
      replace,
      appendToGraph: [...open.values()].flatMap((tensor) => initializerRecord(tensor)),
    }),
    model,
    apart,
  );
}

/** The new length of an axis; undefined where it stays. */
type Lengths = (axis: number) => number | undefined;

/** Changes the lengths that a declaration fixes. @returns whether there were any */
function setLengths({ type }: onnx.ValueInfoProto, lengthOf: Lengths): boolean {
  let any = false;
  for (const [axis, dim] of (type?.tensorType?.shape?.dim ?? []).entries()) {
    const length = lengthOf(axis);
    if (length === undefined || dim.dimValue === undefined || dim.dimValue === null) continue;
    dim.dimValue = Long.fromNumber(length);
    any = true;
  }
  return any;
}

import { Builder, type Offset } from "flatbuffers";
import { checkBytes, checkFields } from "../check-arguments.ts";
import { FileError, messageOf } from "../errors.ts";
import { DataType } from "../onnx/data-types.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { FlatbufferTable, tensorIn } from "./flatbuffer-table.ts";

/** The state of an optimizer in a checkpoint. */
export interface OrtOptimizerState {
  /** Number of updates done. */
  readonly step: number;
  /** The initial learning rate. ONNX Runtime writes it but does not apply it when it loads the checkpoint. */
  readonly learningRate: number;
  /** Moments by parameter name: `momentum0` and, for AdamW, `momentum1`, in the parameter's shape. */
  readonly momentums: ReadonlyMap<string, ReadonlyMap<string, Tensor>>;
}

/** The content of a checkpoint file of ONNX Runtime's training API. */
export interface OrtCheckpoint {
  /** Trained parameters. */
  readonly parameters: readonly Tensor[];
  /** Weights that are not trained, and running statistics of BatchNorm. */
  readonly frozen: readonly Tensor[];
  readonly optimizer?: OrtOptimizerState;
  /** The user's own entries: integers as bigint, float32 numbers, strings. */
  readonly properties: ReadonlyMap<string, bigint | number | string>;
}

/**
 * Field numbers of the tables in a checkpoint, as ONNX Runtime 1.19.2 writes them. They were found in its files and
 * confirmed by writing files that it loads (FACTS §7).
 */
const fields = {
  checkpoint: { version: 0, module: 1, optimizers: 2, properties: 3 },
  module: { parameters: 0, frozen: 1, nominal: 2, external: 3 },
  tensor: { name: 0, dims: 2, type: 3, data: 4, externalOffset: 6 },
  optimizer: { name: 0, step: 1, learningRate: 2, states: 3 },
  state: { parameter: 0, momentums: 1 },
  properties: { ints: 0, floats: 1, strings: 2 },
  property: { name: 0, value: 1 },
} as const;

const identifier = "ODTC";
/** Size limit in bytes, since offsets are signed 32-bit numbers. */
const largest = 2 ** 31 - 1;
const version = 2;
/** The only group that ONNX Runtime reads; it silently ignores state under another name. */
const groupName = "group0";

/** @throws UsageError for what is no checkpoint */
export const checkCheckpoint = (given: unknown): void =>
  checkFields(
    "a checkpoint is what readCheckpoint, decodeCheckpoint or checkpointOf gives",
    given,
    ...["parameters", "frozen", "properties"],
  );

/** Whether a file begins with the identifier of a checkpoint. */
export function isCheckpoint(bytes: Uint8Array): boolean {
  checkBytes("the contents of a checkpoint", bytes);
  return bytes.length >= 8 && [...identifier].every((letter, i) => bytes[4 + i] === letter.charCodeAt(0));
}

/**
 * Reads a checkpoint of ONNX Runtime's training API. Tensors are views of `bytes` if alignment allows.
 * @param name - the file's name, for messages
 * @throws SorthError when the file is damaged, has another version, or keeps its numbers in another file
 *
 * @example
 * const { parameters, optimizer } = decodeCheckpoint(await readFile("checkpoint"), "checkpoint");
 * optimizer?.step; // updates done
 */
export function decodeCheckpoint(bytes: Uint8Array, name = "the checkpoint"): OrtCheckpoint {
  if (!isCheckpoint(bytes)) {
    throw new FileError(`${name} is not a checkpoint of ONNX Runtime's training API`);
  }
  try {
    return readRoot(FlatbufferTable.rootOf(bytes));
  } catch (error) {
    if (error instanceof Unsupported) throw new FileError(`${name} ${error.message}`);
    throw new FileError(`${name} is a damaged checkpoint (${messageOf(error)}); save it again`);
  }
}

/** The file is intact, but of a kind that this version does not read. */
class Unsupported extends Error {}

function readRoot(root: FlatbufferTable): OrtCheckpoint {
  const found = root.int32(fields.checkpoint.version);
  if (found !== version) {
    throw new Unsupported(`has version ${found} of the checkpoint format; version ${version} is read`);
  }
  const module = root.table(fields.checkpoint.module);
  if (!module) throw new Unsupported("holds no parameters");
  if (module.boolean(fields.module.external)) {
    throw new Unsupported("keeps its numbers in another file, which is not read; save it without that");
  }
  if (module.boolean(fields.module.nominal)) {
    throw new Unsupported(
      "is a nominal checkpoint: it names parameters without their numbers; take the full one",
    );
  }
  const group = root
    .tables(fields.checkpoint.optimizers)
    ?.find((table) => table.text(fields.optimizer.name) === groupName);
  const optimizer = group && readOptimizer(group);
  const properties = root.table(fields.checkpoint.properties);
  return {
    parameters: (module.tables(fields.module.parameters) ?? []).map(readTensor),
    frozen: (module.tables(fields.module.frozen) ?? []).map(readTensor),
    ...(optimizer && { optimizer }),
    properties: properties ? readProperties(properties) : new Map(),
  };
}

function readTensor(table: FlatbufferTable): Tensor {
  if (table.int64(fields.tensor.externalOffset, -1n) >= 0n) {
    const name = table.text(fields.tensor.name) ?? "";
    throw new Unsupported(`keeps the numbers of "${name}" in another file, which is not read`);
  }
  return tensorIn(table, fields.tensor);
}

function readOptimizer(group: FlatbufferTable): OrtOptimizerState {
  const states = group.tables(fields.optimizer.states) ?? [];
  return {
    step: Number(group.int64(fields.optimizer.step, 0n)),
    learningRate: group.float32(fields.optimizer.learningRate),
    momentums: new Map(
      states.map((state) => {
        const moments = (state.tables(fields.state.momentums) ?? []).map(readTensor);
        return [
          state.text(fields.state.parameter) ?? "",
          new Map(moments.map((tensor) => [tensor.name, tensor])),
        ];
      }),
    ),
  };
}

function readProperties(bag: FlatbufferTable): Map<string, bigint | number | string> {
  const entries = <T>(list: number, value: (table: FlatbufferTable) => T) =>
    (bag.tables(list) ?? []).map((table) => [table.text(fields.property.name) ?? "", value(table)] as const);
  return new Map<string, bigint | number | string>([
    ...entries(fields.properties.ints, (table) => table.int64(fields.property.value, 0n)),
    ...entries(fields.properties.floats, (table) => table.float32(fields.property.value)),
    ...entries(fields.properties.strings, (table) => table.text(fields.property.value) ?? ""),
  ]);
}

/**
 * Encodes a checkpoint that ONNX Runtime 1.19.2 (Python and web) loads.
 * @throws SorthError for a duplicate name, for moments without a parameter, and beyond 2 GB
 *
 * @example
 * await writeFile("checkpoint", encodeCheckpoint({ parameters, frozen: [], properties: new Map() }));
 */
export function encodeCheckpoint(checkpoint: OrtCheckpoint): Uint8Array {
  checkCheckpoint(checkpoint);
  check(checkpoint);
  const { parameters, frozen, optimizer, properties } = checkpoint;
  const moments = [...(optimizer?.momentums.values() ?? [])].flatMap((slots) => [...slots.values()]);
  const size = [...parameters, ...frozen, ...moments].reduce(
    (sum, tensor) => sum + tensor.bytes.length + 256,
    4096,
  );
  if (size > largest) {
    throw new FileError(
      `the checkpoint would have ${Math.round(size / 1e6)} MB, but its format allows 2 GB; train fewer parameters (--freeze) or leave the optimizer state out`,
    );
  }
  // Allocate the final size: a builder that grows copies everything it holds.
  const b = new Builder(size);
  const bag = properties.size > 0 ? writeProperties(b, properties) : undefined;
  const groups = optimizer && vectorOf(b, [writeOptimizer(b, optimizer)]);
  const module = table(b, 4, [
    [
      fields.module.parameters,
      vectorOf(
        b,
        parameters.map((tensor) => writeTensor(b, tensor)),
      ),
    ],
    [
      fields.module.frozen,
      vectorOf(
        b,
        frozen.map((tensor) => writeTensor(b, tensor)),
      ),
    ],
  ]);
  b.startObject(4);
  b.addFieldInt32(fields.checkpoint.version, version, 0);
  b.addFieldOffset(fields.checkpoint.module, module, 0);
  if (groups !== undefined) b.addFieldOffset(fields.checkpoint.optimizers, groups, 0);
  if (bag !== undefined) b.addFieldOffset(fields.checkpoint.properties, bag, 0);
  b.finish(b.endObject(), identifier);
  // Copy into a new buffer, because the runtime ignores the offset of a view.
  return b.asUint8Array().slice();
}

function check({ parameters, frozen, optimizer }: OrtCheckpoint): void {
  const names = new Set<string>();
  for (const { name } of [...parameters, ...frozen]) {
    if (names.has(name)) throw new FileError(`the checkpoint would hold "${name}" twice`);
    names.add(name);
  }
  if (optimizer && !(Number.isSafeInteger(optimizer.step) && optimizer.step >= 0)) {
    throw new FileError(`the optimizer's step is ${optimizer.step}; it must be a whole number, 0 or more`);
  }
  const trained = new Set(parameters.map(({ name }) => name));
  for (const name of optimizer?.momentums.keys() ?? []) {
    if (!trained.has(name)) throw new FileError(`the optimizer state of "${name}" belongs to no parameter`);
  }
}

function table(b: Builder, size: number, offsets: readonly (readonly [number, Offset])[]): Offset {
  b.startObject(size);
  for (const [field, offset] of offsets) b.addFieldOffset(field, offset, 0);
  return b.endObject();
}

function vectorOf(b: Builder, offsets: readonly Offset[]): Offset {
  b.startVector(4, offsets.length, 4);
  for (const offset of [...offsets].reverse()) b.addOffset(offset);
  return b.endVector();
}

function writeTensor(b: Builder, tensor: Tensor): Offset {
  const data = b.createByteVector(tensor.bytes);
  const name = b.createString(tensor.name);
  b.startVector(8, tensor.dims.length, 8);
  for (const dim of [...tensor.dims].reverse()) b.addInt64(BigInt(dim));
  const dims = b.endVector();
  b.startObject(7);
  b.addFieldOffset(fields.tensor.name, name, 0);
  b.addFieldOffset(fields.tensor.dims, dims, 0);
  b.addFieldInt32(fields.tensor.type, DataType[tensor.type], 0);
  b.addFieldOffset(fields.tensor.data, data, 0);
  return b.endObject();
}

function writeOptimizer(b: Builder, { step, learningRate, momentums }: OrtOptimizerState): Offset {
  const states = [...momentums].map(([parameter, slots]) => {
    const moments = vectorOf(
      b,
      [...slots].map(([slot, tensor]) => writeTensor(b, tensor.named(slot))),
    );
    return table(b, 2, [
      [fields.state.parameter, b.createString(parameter)],
      [fields.state.momentums, moments],
    ]);
  });
  const list = vectorOf(b, states);
  const name = b.createString(groupName);
  b.startObject(4);
  b.addFieldOffset(fields.optimizer.name, name, 0);
  b.addFieldInt64(fields.optimizer.step, BigInt(step), 0n);
  b.addFieldFloat32(fields.optimizer.learningRate, learningRate, 0);
  b.addFieldOffset(fields.optimizer.states, list, 0);
  return b.endObject();
}

function writeProperties(b: Builder, properties: OrtCheckpoint["properties"]): Offset {
  const lists: [Offset[], Offset[], Offset[]] = [[], [], []];
  for (const [key, value] of [...properties].sort(([a], [z]) => (a < z ? -1 : 1))) {
    const name = b.createString(key);
    const text = typeof value === "string" ? b.createString(value) : 0;
    b.startObject(2);
    b.addFieldOffset(fields.property.name, name, 0);
    if (typeof value === "bigint") b.addFieldInt64(fields.property.value, value, 0n);
    else if (typeof value === "number") b.addFieldFloat32(fields.property.value, value, 0);
    else b.addFieldOffset(fields.property.value, text, 0);
    lists[typeof value === "bigint" ? 0 : typeof value === "number" ? 1 : 2].push(b.endObject());
  }
  const [ints, floats, strings] = lists.map((list) => vectorOf(b, list)) as [Offset, Offset, Offset];
  return table(b, 3, [
    [fields.properties.ints, ints],
    [fields.properties.floats, floats],
    [fields.properties.strings, strings],
  ]);
}

import { markKey } from "../analysis/block-nodes.ts";
import { copied } from "../analysis/copies.ts";
import { unusableNumber } from "../analysis/unusable-numbers.ts";
import { blockOf } from "../block/block.ts";
import { strip } from "../block/strip.ts";
import { NumericError, SorthError, UsageError } from "../errors.ts";
import { graphOf, modelOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { tagOf } from "../known-options.ts";
import { checkModel } from "../onnx/check-model.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import { initializerRecord } from "../onnx/encode-in-pieces.ts";
import { Model } from "../onnx/model.ts";
import { onnx } from "../onnx/schema.js";
import { numberToBfloat16, numberToFloat16 } from "../onnx/small-types.ts";
import { payloadOf, splice } from "../onnx/splice.ts";
import type { Chunk } from "../onnx/stored.ts";
import { externalReference, Tensor } from "../onnx/tensor.ts";
import { type FieldRecord, graphFields } from "../onnx/wire.ts";
import { liftParameters } from "../passes/expansion/expand-model.ts";
import { leaveTrainingMode } from "../passes/training/stop-dropout.ts";
import { isObject } from "../what-is.ts";
import type { LossOptions } from "./options.ts";

/**
 * The model with new numbers in its parameters and running statistics. Everything else stays byte for byte, except that an
 * injected block is removed unless `keepPenalty` is set. Models in training form (BatchNormalization with training_mode,
 * Dropout that drops) and models with split initializers are rewritten in inference form.
 *
 * @param weights - by their names in the step graph, which are the model's except for split initializers; float32 ones of a
 * model in float16 or bfloat16 are rounded to it
 * @throws SorthError if a weight is not in the model, or has another type or shape there
 */
export function withWeights(
  model: Model,
  weights: ReadonlyMap<string, Tensor>,
  options: LossOptions & { readonly keepPenalty?: boolean } = {},
): Model {
  checkModel(model);
  if (tagOf(weights) !== "Map" || ![...weights.values()].every((one) => isObject(one) && "dims" in one)) {
    throw new UsageError("weights are a Map of tensors by name, as in trainer.state().parameters");
  }
  const injected = model.proto.metadataProps?.some(({ key }) => key === markKey) ?? false;
  const original = injected && !options.keepPenalty ? strip(model) : model;
  const names = new Set((original.proto.graph?.initializer ?? []).map(({ name }) => name ?? ""));
  const { own, all } = inFilesForm(original, weights, options);
  const split = [...all.keys()].some((name) => !names.has(name));
  return split || isTrainingForm(original) ? rewritten(original, own, options) : replaced(original, all);
}

/**
 * The weights in the file's types (`own`), and in its form (`all`): copies follow their parameter, and a parameter stored only in
 * repeated form is repeated.
 */
function inFilesForm(
  model: Model,
  weights: ReadonlyMap<string, Tensor>,
  options: LossOptions,
): Record<"own" | "all", ReadonlyMap<string, Tensor>> {
  const graph = graphOf(model);
  const inFile = graph.initializers;
  const { copies } = liftParameters(graph, options, model.external);
  const stored = [...inFile, ...graph.initializers];
  const typeOf = new Map(stored.map(({ name, type }) => [name, type]));
  const own = new Map([...weights].map(([name, tensor]) => [name, inType(tensor, name, typeOf.get(name))]));
  checkWeights(own, stored);
  const all = new Map(own);
  for (const copy of copies) {
    const parameter = own.get(copy.of);
    if (!parameter) continue;
    all.set(copy.name, copied(copy, parameter));
    if (copy.made) all.delete(copy.of);
  }
  return { own, all };
}

const roundings = { float16: numberToFloat16, bfloat16: numberToBfloat16 };

/** A float32 tensor in the half type that the file stores; any other as it is. @throws SorthError for NaN, and for a number beyond that type */
function inType(tensor: Tensor, name: string, type: DataTypeName | undefined): Tensor {
  // A tensor that is computed when it is read is checked at that time.
  const broken = tensor.isInMemory && unusableNumber(tensor);
  if (broken)
    throw new NumericError(`the weight "${name}" holds ${broken}: go back to a checkpoint before you export`);
  if (tensor.type !== "float" || (type !== "float16" && type !== "bfloat16")) return tensor;
  const round = roundings[type];
  const bits = Uint16Array.from(tensor.data as Float32Array, round);
  const rounded = Tensor.of(tensor.name, type, tensor.dims, bits);
  const infinite = bits.findIndex((word) => (word & 0x7fff) === (round(Number.POSITIVE_INFINITY) & 0x7fff));
  if (infinite < 0) return rounded;
  throw new SorthError(
    `the weight "${name}" has grown to ${tensor.numbers()[infinite]}, more than its type in the model holds (${type}): train with a lower learning rate, or convert the model to float32`,
  );
}

/** @throws SorthError for a weight that none of the initializers can take */
function checkWeights(weights: ReadonlyMap<string, Tensor>, initializers: readonly Value[]): void {
  const stored = new Map(initializers.map(({ name, initializer }) => [name, initializer]));
  const form = ({ type, dims }: Tensor) => `${type}[${dims.join(", ")}]`;
  for (const [name, tensor] of weights) {
    const old = stored.get(name);
    if (!old) throw new SorthError(`the model has no weight "${name}"`);
    if (form(old) === form(tensor)) continue;
    throw new SorthError(`the weight "${name}" is ${form(old)} in the model, not ${form(tensor)}`);
  }
}

/** Whether a model was exported for training. */
function isTrainingForm(model: Model): boolean {
  return (model.proto.graph?.node ?? []).some(
    ({ opType, attribute, input }) =>
      (opType === "BatchNormalization" &&
        attribute?.some(({ name, i }) => name === "training_mode" && Number(i) === 1)) ||
      (opType === "Dropout" && (input?.[2] ?? "") !== ""),
  );
}

/** The same file with new records for the weights. */
function replaced(model: Model, weights: ReadonlyMap<string, Tensor>): Model {
  const layout = model.layout;
  const records = new Map<FieldRecord, Chunk[]>();
  const apart: string[] = [];
  for (const record of layout.graph) {
    if (record.field !== graphFields.initializer) continue;
    const before = onnx.TensorProto.decode(payloadOf(layout, record));
    const { name, docString } = before;
    const tensor = weights.get(name);
    if (!tensor) continue;
    records.set(record, initializerRecord(tensor.named(name), docString));
    if (externalReference(before)) apart.push(name);
  }
  return Model.spliced(splice(layout, { replace: records }), model, apart);
}

/** The graph rewritten in inference form. */
function rewritten(model: Model, weights: ReadonlyMap<string, Tensor>, options: LossOptions): Model {
  const graph = graphOf(model);
  if (blockOf(graph)) {
    throw new SorthError(
      "a model in training form, or with split initializers, cannot keep its penalty: export without it and inject again",
    );
  }
  liftParameters(graph, options, model.external);
  leaveTrainingMode(graph);
  for (const [name, tensor] of weights) graph.valueNamed(name).initializer = tensor.named(name);
  graph.prune();
  return modelOf(graph, model, { irVersion: Number(model.proto.irVersion) });
}

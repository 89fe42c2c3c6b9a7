import { decodeValueInfoProto, encodeValueInfoProto } from "../onnx/codec.ts";
import { Model } from "../onnx/model.ts";
import { payloadOf, splice } from "../onnx/splice.ts";
import { bytesField, graphFields } from "../onnx/wire.ts";

/**
 * A model with inner values as additional outputs.
 * @param values - names of values; those that are already outputs are unchanged
 */
export function tap(model: Model, values: readonly string[]): Model {
  const { layout } = model;
  const declared = layout.graph.filter(({ field }) => field === graphFields.output);
  const outputs = new Set(declared.map((record) => decodeValueInfoProto(payloadOf(layout, record)).name));
  const missing = [...new Set(values)].filter((name) => !outputs.has(name));
  const appendToGraph = missing.map((name) => bytesField(graphFields.output, encodeValueInfoProto({ name })));
  return Model.spliced(splice(layout, { appendToGraph }), model);
}

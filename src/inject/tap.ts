import type { Value } from "../graph/node.ts";
import { valueInfo } from "../graph/proto.ts";
import {
  decodeNodeProto,
  decodeTensorProto,
  decodeValueInfoProto,
  encodeValueInfoProto,
} from "../onnx/codec.ts";
import { Model } from "../onnx/model.ts";
import { splice } from "../onnx/splice.ts";
import { bytesField, type FieldRecord, graphFields } from "../onnx/wire.ts";

/**
 * A model with inner values as additional outputs, and one parameter as an input instead of the file's numbers.
 * @param values - names of values; those that are already outputs are unchanged
 */
export function tap(model: Model, values: readonly string[], parameter?: Value): Model {
  const layout = model.layout;
  const replace = new Map<FieldRecord, null>();
  const outputs = new Set<string>();
  let declared = false;
  for (const record of layout.graph) {
    const payload = () => layout.bytes.subarray(record.payload, record.end);
    if (record.field === graphFields.output) outputs.add(decodeValueInfoProto(payload()).name);
    if (!parameter) continue;
    if (record.field === graphFields.input)
      declared ||= decodeValueInfoProto(payload()).name === parameter.name;
    const defines =
      (record.field === graphFields.initializer && decodeTensorProto(payload()).name === parameter.name) ||
      (parameter.producer !== undefined &&
        record.field === graphFields.node &&
        decodeNodeProto(payload()).output.includes(parameter.name));
    if (defines) replace.set(record, null);
  }
  const missing = [...new Set(values)].filter((name) => !outputs.has(name));
  return Model.spliced(
    splice(layout, {
      replace,
      appendToGraph: [
        ...missing.map((name) => bytesField(graphFields.output, encodeValueInfoProto({ name }))),
        ...(parameter && !declared
          ? [bytesField(graphFields.input, encodeValueInfoProto(valueInfo(parameter)))]
          : []),
      ],
    }),
    model,
  );
}

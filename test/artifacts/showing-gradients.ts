import { encodeModel } from "../../src/index.ts";
import { decodeModelProto, encodeModelProto } from "../../src/onnx/codec.ts";
import type { Model } from "../../src/onnx/model.ts";

/** A training model whose session hands out the gradients of one run: outputs `shown/<parameter>`. */
export function showingGradients(model: Model, parameters: readonly string[]): Uint8Array {
  const proto = decodeModelProto(encodeModel(model));
  for (const parameter of parameters) {
    const input = proto.graph?.input?.find(({ name }) => name === parameter);
    const [from, to] = [`${parameter}_grad`, `shown/${parameter}`];
    proto.graph?.node?.push({ opType: "Identity", name: to, input: [from], output: [to] } as never);
    proto.graph?.output?.push({ ...input, name: to } as never);
  }
  return encodeModelProto(proto);
}

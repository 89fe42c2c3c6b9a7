import { expect, test } from "vitest";
import { decodeModelProto, encodeModelProto } from "../../src/onnx/codec.ts";

/** A field that holds bytes or text; numbers of fields and lengths below 2,048 and 128. */
function field(number: number, content: readonly number[] | string): number[] {
  const bytes = typeof content === "string" ? [...Buffer.from(content)] : content;
  const key = number * 8 + 2;
  return [...(key < 128 ? [key] : [(key & 127) | 128, key >> 7]), bytes.length, ...bytes];
}

test("fields that the schema does not name are written as they were read: the devices of a node and of a model", () => {
  const node = [
    ...[...field(1, "x"), ...field(2, "y"), ...field(4, "Relu")],
    // NodeProto.device_configurations: { configuration_id: "two" }
    ...field(10, field(1, "two")),
  ];
  const graph = [...field(1, node), ...field(2, "g")];
  // ir_version 13, graph, configuration: { name: "two", num_devices: 2 }
  const model = Uint8Array.from([8, 13, ...field(7, graph), ...field(26, [...field(1, "two"), 16, 2])]);
  const read = decodeModelProto(model);
  expect(read.graph?.node?.[0]?.opType).toBe("Relu");
  expect(Uint8Array.from(encodeModelProto(read))).toEqual(model);
});

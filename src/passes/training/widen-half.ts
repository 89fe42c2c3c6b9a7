import { type Attribute, int, tensor } from "../../graph/attribute.ts";
import type { Node } from "../../graph/node.ts";
import { DataType, type DataTypeName, dataTypeName, isHalf } from "../../onnx/data-types.ts";
import { Tensor } from "../../onnx/tensor.ts";
import { changes, defineGraphPass } from "../pass.ts";

/** Attributes that name the type of what an operator returns. */
const typeAttributes = ["to", "dtype", "output_dtype"];

/**
 * Makes a float16 or bfloat16 model a float32 one with the same numbers, so that training keeps float32 weights (updates are
 * smaller than half precision can add). Before shapes are inferred.
 *
 *     w: float16, y = MatMul(x: float16, w), z = Cast(y, to = float16)  →  w: float32, y = MatMul(x: float32, w), z = Cast(y, to = float32)
 */
export const widenHalf = defineGraphPass({
  name: "widen-half",
  options: {},
  run(graph) {
    let made = 0;
    for (const value of [...graph.values]) {
      if (!isHalf(value.type)) continue;
      made += 1;
      value.type = "float";
      if (value.initializer) value.initializer = widened(value.initializer);
    }
    for (const node of graph.nodes) made += widenAttributes(node);
    return changes(made, "value", "no value is float16 or bfloat16, as far as is known");
  },
});

/** Numbers from which a table of all half numbers is faster than decoding each. */
const many = 2 ** 16;
const tables = new Map<DataTypeName, Float32Array>();

/** The same numbers in float32. */
function widened(half: Tensor): Tensor {
  const { name, type, dims, size } = half;
  if (size < many) return Tensor.float(name, dims, half.numbers());
  const table =
    tables.get(type) ??
    Float32Array.from(
      Tensor.of(
        "",
        type,
        [many],
        Uint16Array.from({ length: many }, (_, i) => i),
      ).numbers(),
    );
  tables.set(type, table);
  const bits = half.data as Uint16Array;
  return Tensor.of(
    name,
    "float",
    dims,
    Float32Array.from(bits, (word) => table[word] ?? 0),
  );
}

/** @returns how many attributes were changed */
function widenAttributes(node: Node): number {
  const wide = [...node.attributes].flatMap(([name, attribute]): [string, Attribute][] => {
    if (attribute.kind === "tensor" && isHalf(attribute.value.type))
      return [[name, tensor(widened(attribute.value))]];
    const names = typeAttributes.includes(name) && attribute.kind === "int";
    return names && isHalf(typeOf(attribute.value)) ? [[name, int(DataType.float)]] : [];
  });
  for (const [name, attribute] of wide) node.attributes.set(name, attribute);
  return wide.length;
}

const typeOf = (number: number | bigint): DataTypeName | undefined => dataTypeName(Number(number));

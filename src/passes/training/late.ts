import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Node, Value } from "../../graph/node.ts";
import { isFloat } from "../../onnx/data-types.ts";
import { byteLengthOf, elementCount } from "../../onnx/tensor.ts";

/** Size of a value in bytes; 0 if its type or shape is not known. */
export const bytesOf = ({ type, shape }: Value): number => (type && shape ? byteLengthOf(type, shape) : 0);

/** Nodes that depend on one of the values. */
export function dependents(order: readonly Node[], values: ReadonlySet<Value>): Set<Node> {
  const result = new Set<Node>();
  for (const node of order) {
    const depends = [...node.inputs, ...node.captures].some(
      (input) => input && (values.has(input) || (input.producer && result.has(input.producer))),
    );
    if (depends) result.add(node);
  }
  return result;
}

/**
 * The same value, available only after others: minus a zero that is computed from them. A value that is no float is available at
 * once.
 */
export function late(emit: Emit, value: Typed, after: readonly Typed[]): Typed {
  const names = after.map(({ name }) => name).join("\n");
  if (!isFloat(value.type)) return value;
  return emit.once(`late ${value.name} ${names}`, () => {
    const zero = emit.once(`zero after ${names}`, () =>
      // Never true, not even for NaN; a constant false would be folded.
      after
        .map((one) => emit.cast(emit.less(oneOf(emit, one), -Infinity), "float"))
        .reduce((a, b) => emit.add(a, b)),
    );
    return emit.sub(value, emit.cast(zero, value.type));
  });
}

/** One number of a value, as a scalar. */
function oneOf(emit: Emit, value: Typed): Typed {
  const line = emit.reshape(value, [elementCount(value.shape)]);
  return emit.reshape(emit.slice(line, [{ axis: 0, start: 0, length: 1 }]), []);
}

import { type Copy, type CopyOptions, findCopies } from "../../analysis/copies.ts";
import { ints } from "../../graph/attribute.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Value } from "../../graph/node.ts";
import { elementCount, Tensor } from "../../onnx/tensor.ts";
import { changed, counted, defineGraphPass, unchanged } from "../pass.ts";

/**
 * Lets copies be computed from the parameter that they are copies of, so that both stay the same in training: a weight that
 * the exporter wrote a second time transposed or reshaped, and a parameter that it repeated for every sample.
 *
 *     Gather(E, i), MatMul(h, copy of Eᵀ)  →  Gather(E, i), MatMul(h, Transpose(E))
 *
 * @returns what was tied; the numbers of the copies follow from `copied` (src/analysis/copies.ts)
 */
export const tieCopies = defineGraphPass({
  name: "tie-copies",
  options: {} as CopyOptions,
  run(graph, options) {
    const copies = findCopies(graph, options);
    for (const copy of copies) replace(graph, copy);
    return copies.length > 0
      ? changed(`${counted(copies.length, "tensor")} computed from the parameter now`, copies)
      : unchanged("no initializer is a copy of another in another layout", copies);
  },
});

/** Puts the nodes that compute a copy in its place. */
function replace(graph: Graph, { name, of, dims, rows, made, once }: Copy): void {
  const copy = graph.valueNamed(name);
  const parameter = made ? graph.addInitializer(made) : graph.valueNamed(of);
  const numbers = parameter.initializer as Tensor;
  const shape = (sizes: readonly number[]) =>
    graph.addInitializer(Tensor.int64(graph.freshName(`${name}/shape`), [sizes.length], sizes));
  const add = (opType: string, inputs: Value[], attributes = new Map()): Value => {
    const output = graph.freshName(`${name}/${opType.toLowerCase()}`);
    graph.addNode({ opType, name: output, inputs, outputs: [output], attributes });
    return graph.valueNamed(output);
  };
  let value = parameter;
  let now = numbers.dims;
  const reshape = (sizes: readonly number[]) => {
    if (`${now}` === `${sizes}`) return;
    value = add("Reshape", [value, shape(sizes)]);
    now = sizes;
  };
  if (rows > 0) {
    reshape([rows, numbers.size / rows]);
    value = add("Transpose", [value], new Map([["perm", ints([1, 0])]]));
    now = [numbers.size / rows, rows];
  }
  if (numbers.size === elementCount(dims)) reshape(dims);
  else {
    reshape(once ?? (dims.length === numbers.dims.length ? numbers.dims : now));
    value = add("Expand", [value, shape(dims)]);
  }
  if (value === parameter) value = add("Identity", [value]);
  value.type = copy.type;
  graph.replaceUses(copy, value, { outputs: true });
  graph.removeUnusedConstants();
}

import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import { typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { dimAt } from "../graph/shapes.ts";

/**
 * Puts a graph into forms that WebGPU computes rightly, and refuses what it computes wrongly without saying so. Measured
 * on ONNX Runtime 1.30 (native build and browser, SwiftShader) by running every rule's samples there and on the CPU; the
 * test over them tells when a newer release needs less of this.
 *
 *     Conv(x, w), 9 channels    becomes    Conv(x with 12 channels, w with 12), the added ones zero
 *
 * @throws SorthError that names a node with a wrong result there and no other form
 */
export function forWebGpu(graph: Graph, g: Emit): void {
  for (const node of [...graph.nodes]) {
    const wrong = wrongOnWebGpu(node);
    if (wrong) {
      throw new SorthError(
        `webgpu does not compute ${node.op} "${node.label}" rightly: ${wrong}; train on the CPU (wasm in a browser)`,
      );
    }
    if (node.op === "Conv" && isMiscomputedConvolution(node)) padChannels(graph, g, node);
    if (node.op === "SimplifiedLayerNormalization" && node.outputs[1]) ownDeviation(graph, g, node);
  }
}

/**
 * The kernel for plain 1-D and 2-D convolutions reads channels in threes when their number divides by three and not by
 * four, and outputs in fours; the result is wrong from the second three on (microsoft/onnxruntime issue 29651).
 */
function isMiscomputedConvolution(node: Node): boolean {
  const shape = node.inputs[1]?.shape;
  if (!shape || shape.length > 4 || node.int("group", 1) !== 1) return false;
  const [outputs, channels] = [dimAt(shape, 0), dimAt(shape, 1)];
  return outputs % 4 === 0 && channels > 3 && channels % 3 === 0 && channels % 4 !== 0;
}

/** Fills channels up to a multiple of four with zeros. */
function padChannels(graph: Graph, g: Emit, node: Node): void {
  const padded = (value: Value) =>
    g.once(`channels of ${value.name} in fours`, () => {
      const tensor = typed(value);
      const shape = [...tensor.shape];
      shape[1] = 4 - (dimAt(shape, 1) % 4);
      return g.concat([tensor, g.filled(0, shape, tensor.type)], 1);
    });
  const [x, w] = node.inputs;
  if (!x || !w) return;
  graph.setInput({ node, index: 0 }, padded(x));
  graph.setInput({ node, index: 1 }, padded(w));
}

/** The second output, 1/√(mean x² + ε), holds other numbers on WebGPU: it is computed apart. */
function ownDeviation(graph: Graph, g: Emit, node: Node): void {
  const [, deviation] = node.outputs;
  const x = node.inputs[0] && typed(node.inputs[0]);
  if (!x || !deviation) return;
  const rank = x.shape.length;
  const first = node.int("axis", -1);
  const start = first < 0 ? first + rank : first;
  const axes = Array.from({ length: rank - start }, (_, i) => start + i);
  const square = g.reduceMean(g.mul(x, x), axes);
  const root = g.sqrt(g.add(square, g.scalar(node.float("epsilon", 1e-5), x.type)));
  graph.replaceUses(deviation, g.reshape(g.reciprocal(root), typed(deviation).shape), { outputs: true });
  graph.dropNodeOutputs(node, 1);
}

/** Why a node's result would be wrong, or end the process; undefined for all others. */
function wrongOnWebGpu(node: Node): string | undefined {
  return wrongForms[node.op]?.(node);
}

const shapesOf = (node: Node): (readonly number[])[] => node.inputs.map((value) => value?.shape ?? []);

const constantOf = (value: Value | null | undefined): readonly number[] | undefined =>
  (value?.initializer ?? value?.producer?.tensor("value"))?.numbers();

const reducesNothing = (node: Node): string | undefined => {
  const axes = node.inputs[1];
  const none = !axes || constantOf(axes)?.length === 0;
  return node.int("noop_with_empty_axes", 0) === 1 && none ? "without axes it returns its input" : undefined;
};

const wrongForms: Readonly<Record<string, (node: Node) => string | undefined>> = {
  ReduceL2: reducesNothing,
  ReduceLogSum: reducesNothing,
  ReduceSumSquare: reducesNothing,
  Einsum: (node) => {
    const shapes = shapesOf(node);
    if (shapes.some((shape) => shape.includes(0))) return "an empty input ends the process";
    const terms = node.string("equation", "").replaceAll(" ", "").split("->")[0]?.split(",") ?? [];
    const sizes = new Map<string, number>();
    for (const [i, term] of terms.entries()) {
      for (const [j, letter] of [...term].entries()) {
        const size = shapes[i]?.[j] ?? 1;
        if ((sizes.get(letter) ?? size) !== size) return "dimensions of 1 are not broadcast";
        sizes.set(letter, size);
      }
    }
    return undefined;
  },
  Pad: (node) => {
    const cropped =
      node.string("mode", "constant") === "wrap" && constantOf(node.inputs[1])?.some((pad) => pad < 0);
    return cropped ? "mode wrap with negative pads" : undefined;
  },
  Resize: (node) => {
    const [x, y] = [node.inputs[0]?.shape, node.outputs[0]?.shape];
    if (!x || !y) return undefined;
    const mode = node.string("mode", "nearest");
    const scales = constantOf(node.inputs[2]) ?? x.map((size, i) => dimAt(y, i) / size);
    if (mode === "nearest") {
      const symmetric =
        node.string("coordinate_transformation_mode", "half_pixel") === "half_pixel_symmetric";
      const whole = scales.every((scale) => Number.isInteger(scale));
      return symmetric && !whole ? "half_pixel_symmetric with a scale that is no whole number" : undefined;
    }
    if (x.some((size, i) => size === y[i] && scales[i] !== 1 && scales[i] !== undefined)) {
      return "a scale that leaves the size as it is";
    }
    return x.length === 4 && x[1] !== y[1] ? "the channel axis is resized" : undefined;
  },
  "com.microsoft.FusedConv": (node) => (node.inputs[3] ? "an added input ends the process" : undefined),
};

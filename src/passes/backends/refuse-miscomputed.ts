import { constantTensor } from "../../analysis/probe-model.ts";
import { DeviceError } from "../../errors.ts";
import type { Node } from "../../graph/node.ts";
import { dimAt } from "../../graph/shapes.ts";
import { tableOf } from "../../lookup.ts";
import { defineGraphPass, unchanged } from "../pass.ts";

/**
 * Refuses what WebGPU computes wrongly without saying so and what has no other form there. Measured on ONNX Runtime 1.30
 * (native build and browser, SwiftShader) by running every rule's samples there and on the CPU.
 *
 *     Einsum that broadcasts  →  DeviceError that names the node
 */
export const refuseMiscomputed = defineGraphPass({
  name: "refuse-miscomputed",
  options: {},
  run(graph) {
    for (const node of graph.nodes) {
      const wrong = wrongForms[node.op]?.(node);
      if (!wrong) continue;
      throw new DeviceError(
        `webgpu does not compute ${node.op} "${node.label}" rightly: ${wrong}; use the CPU (wasm in a browser)`,
      );
    }
    return unchanged("WebGPU computes every operator rightly, as far as is known");
  },
});

const shapesOf = (node: Node): (readonly number[])[] => node.inputs.map((value) => value?.shape ?? []);

const reducesNothing = (node: Node): string | undefined => {
  const axes = node.inputs[1];
  const none = !axes || constantTensor(axes)?.size === 0;
  return node.flag("noop_with_empty_axes") && none ? "without axes it returns its input" : undefined;
};

const wrongForms: Readonly<Record<string, (node: Node) => string | undefined>> = tableOf({
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
      node.string("mode", "constant") === "wrap" &&
      constantTensor(node.inputs[1])
        ?.numbers()
        .some((pad) => pad < 0);
    return cropped ? "mode wrap with negative pads" : undefined;
  },
  Resize: (node) => {
    const [x, y] = [node.inputs[0]?.shape, node.outputs[0]?.shape];
    if (!x || !y) return undefined;
    const mode = node.string("mode", "nearest");
    const scales = constantTensor(node.inputs[2])?.numbers() ?? x.map((size, i) => dimAt(y, i) / size);
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
  LSTM: (node) =>
    node.attributes.has("clip") && node.inputs[7]
      ? "with clip and peepholes, the output gate is clipped before its peephole is added"
      : undefined,
  "com.microsoft.FusedConv": (node) => (node.inputs[3] ? "an added input ends the process" : undefined),
});

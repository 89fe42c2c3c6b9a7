import { expect, test } from "vitest";
import {
  type AxisResize,
  type Interpolation,
  interpolationTaps,
} from "../../src/autodiff/rules/interpolation.ts";
import { int, string } from "../../src/graph/attribute.ts";
import { Graph } from "../../src/graph/graph.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { bytesOf, random } from "./rule-case.ts";

/** Each output element as ONNX Runtime makes it of 1, 0, …, of 0, 1, … and so on: rows of the axis's matrix. */
async function matrixOfRuntime(axis: AxisResize, method: Interpolation): Promise<number[][]> {
  const { from, to } = axis;
  const graph = new Graph("case", new Map([["", 19]]));
  // Axis 0 is resized; axis 1 holds the unit vectors.
  const unit = Float32Array.from({ length: from * from }, (_, i) => (i % (from + 1) === 0 ? 1 : 0));
  const x = graph.addInput("x", "float", [from, from]);
  const roi = graph.addInitializer(Tensor.float("roi", [4], [axis.roi[0], 0, axis.roi[1], 1]));
  const scales = graph.addInitializer(Tensor.float("scales", [2], [axis.scale, 1]));
  const { outputs } = graph.addNode({
    opType: "Resize",
    attributes: new Map([
      ["mode", string(method.mode)],
      ["coordinate_transformation_mode", string(method.coordinates)],
      ...(method.mode === "nearest" ? [["nearest_mode", string(method.nearestMode)] as const] : []),
      ["antialias", int(method.antialias ? 1 : 0)],
      ["exclude_outside", int(method.excludeOutside ? 1 : 0)],
    ]),
    inputs: [x, roi, scales],
    outputs: ["y"],
  });
  for (const output of outputs) if (output) graph.addOutput(output);
  const result = await nodeProbe.run(bytesOf(graph), new Map([["x", Tensor.float("x", [from, from], unit)]]));
  const numbers = result.get("y")?.numbers() ?? [];
  return Array.from({ length: to }, (_, o) => numbers.slice(o * from, (o + 1) * from));
}

function matrixOfTaps(axis: AxisResize, method: Interpolation): number[][] {
  return interpolationTaps(axis, method).map((taps) => {
    const row = new Array<number>(axis.from).fill(0);
    for (const [element, weight] of taps) row[element] = weight;
    return row;
  });
}

const transformations = [
  "half_pixel",
  "half_pixel_symmetric",
  "pytorch_half_pixel",
  "align_corners",
  "asymmetric",
  "tf_crop_and_resize",
  "tf_half_pixel_for_nn",
];
const methods: Record<string, Partial<Interpolation>> = {
  "nearest, halves down": { mode: "nearest", nearestMode: "round_prefer_floor" },
  "nearest, halves up": { mode: "nearest", nearestMode: "round_prefer_ceil" },
  floor: { mode: "nearest", nearestMode: "floor" },
  ceil: { mode: "nearest", nearestMode: "ceil" },
  linear: { mode: "linear" },
  cubic: { mode: "cubic" },
  "cubic, outside excluded": { mode: "cubic", excludeOutside: true },
  "linear, antialias": { mode: "linear", antialias: true },
  "cubic, antialias": { mode: "cubic", antialias: true },
  "linear, antialias, outside excluded": { mode: "linear", antialias: true, excludeOutside: true },
  "cubic, antialias, outside excluded": { mode: "cubic", antialias: true, excludeOutside: true },
};

const cases = Object.entries(methods).flatMap(([name, method]) =>
  transformations.map((coordinates) => ({ name, coordinates, method })),
);

// Whole factors, their inverses, quotients of small numbers (where coordinates lie on halves) and anything else.
test.each(cases)("$name, $coordinates: the matrix of ONNX Runtime", async ({ coordinates, method }) => {
  const next = random(5);
  const scales = [
    2,
    3,
    4,
    0.5,
    0.25,
    1 / 3,
    1.5,
    2 / 3,
    0.75,
    4 / 3,
    1.1,
    ...Array.from({ length: 12 }, () => 0.2 + 3 * next()),
  ];
  for (const scale of scales) {
    const from = 1 + Math.floor(12 * next());
    const to = Math.floor(Math.fround(Math.fround(scale) * from));
    // With antialias, ONNX Runtime fails on a part beyond the input.
    const roi = method.antialias ? ([0.4 * next(), 0.6] as const) : ([next() - 0.3, 0.6 + next()] as const);
    const axis: AxisResize = { from, to, scale, roi };
    const full: Interpolation = {
      ...{ mode: "", nearestMode: "floor", coordinates, cubicCoefficient: -0.75 },
      ...{ excludeOutside: false, antialias: false },
      ...method,
    };
    // As large as before: ONNX Runtime copies, whatever the scale.
    if (to === 0 || to === from) continue;
    const [expected, actual] = [await matrixOfRuntime(axis, full), matrixOfTaps(axis, full)];
    expected.forEach((row, o) => {
      row.forEach((weight, element) => {
        expect(actual[o]?.[element], `${from} × ${scale} → ${to}, ${o}, ${element}`).toBeCloseTo(weight, 5);
      });
    });
  }
});

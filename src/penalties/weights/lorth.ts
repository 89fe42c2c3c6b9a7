import type { Site } from "../../analysis/site-types.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { definePenalty } from "../define.ts";
import { weightOf } from "../layer.ts";
import { convolutionOf, type PlainConvolution } from "../plain-layer.ts";
import { excessSquares, ofWeights, onSmallerSide, withGradient } from "../plain-math.ts";
import { meanOfGroupSums, penaltyOfGram } from "../weight-penalty.ts";
import { excessOfIdentity, smallerSide } from "./excess.ts";
import { plainSelfConvolution, selfConvolutionSquares, shiftsOf } from "./self-convolution.ts";

/**
 * L_orth: OCNN's term minus its lower bound for layers with more outputs than inputs.
 *
 *     R = ‖Conv(K, K, padding P, stride S) − I₀‖²_F − max(0, M − C·S^n), P = ⌊(k − 1)/S⌋·S
 *
 * for M units of C channels over n axes, so that 0 means an orthogonal convolution (with circular padding) for every shape.
 * For a matrix it is the smaller of ‖WWᵀ − I‖² and ‖WᵀW − I‖².
 * Source: Achour, Malgouyres, Mamalet 2022 (arXiv 2108.05623), definition 2, and the code of deel-lip (`LorthRegularizer`,
 * `OrthDenseRegularizer`: λ = 1; odd square kernels of 2-D convolutions only).
 */
export const lorth = definePenalty({
  name: "lorth",
  summary: "orthogonal as a convolution, 0 where it is, whatever the shape",
  formula: "‖Conv(K, K, padding P, stride S) − I₀‖² − max(0, M − C·Sⁿ)",
  source:
    "Achour, Malgouyres, Mamalet 2022 (arXiv 2108.05623), def. 2; deel-lip's LorthRegularizer, λ = 1. P and dilations as for ocnn; of a matrix, the smaller of ‖WWᵀ − I‖² and ‖WᵀW − I‖²",
  defaults: {},
  on: "weights",
  weight: 1,
  ops: ["Conv", "Gemm", "MatMul"],
  warning: impossible,
  build: (layer) => {
    const { g, site, weight } = layer;
    const geometry = convolutionOf(site, weight.shape);
    if (!geometry) {
      const { side, groups } = smallerSide(site);
      return penaltyOfGram(layer, side, (emit, gram) => {
        const { squares, pull } = excessOfIdentity(emit, gram, groups);
        return { value: squares, pull };
      });
    }
    const squares = meanOfGroupSums(g, selfConvolutionSquares(layer), site.groups);
    const floor = leastValue(site.units / site.groups, geometry);
    return floor === 0 ? squares : g.sub(squares, floor);
  },
  reference: (layer) =>
    ofWeights(layer, (rows) => {
      const { convolution } = layer;
      if (!convolution) return onSmallerSide(rows, excessSquares);
      const whole = plainSelfConvolution(rows, convolution);
      return withGradient(whole.value - leastValue(rows.length, convolution), () => whole.gradient);
    }),
});

/** max(0, M − C·Sⁿ). */
function leastValue(units: number, geometry: PlainConvolution): number {
  return Math.max(0, units - geometry.channels * elementCount(shiftsOf(geometry).strides));
}

/** Why no kernel of a layer's shape is orthogonal; undefined if one is. */
function impossible(site: Site): string | undefined {
  const geometry = convolutionOf(site, weightOf(site)?.shape ?? []);
  if (!geometry) return undefined;
  const { channels, kernel } = geometry;
  const { strides } = shiftsOf(geometry);
  const units = site.units / site.groups;
  const skips = strides.some((stride, axis) => stride > (kernel[axis] ?? 1));
  if (units <= channels * elementCount(strides)) {
    return units > channels * elementCount(kernel)
      ? `${units} units of ${channels * elementCount(kernel)} numbers: no kernel is orthogonal, the penalty cannot reach 0`
      : undefined;
  }
  return skips
    ? "its stride skips parts of the image: no kernel is orthogonal, the penalty cannot reach 0"
    : undefined;
}

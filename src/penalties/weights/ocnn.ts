import { definePenalty } from "../define.ts";
import { mapped, ofWeights, withGradient } from "../plain-math.ts";
import { meanOfGroupSums } from "../weight-penalty.ts";
import { plainSelfConvolution, selfConvolutionSquares } from "./self-convolution.ts";

/** Options of OCNN. */
export type OcnnOptions = {
  /** "squared" Frobenius norm as in the paper (default), or the "frobenius" norm itself as in its code. */
  readonly norm: "squared" | "frobenius";
};

/**
 * The smallest ‖…‖² per unit that counts as different from 0, since products of float32 vectors of length 1 are off by about
 * 1e-7 each. A kernel below it gets the root of this number and no slope, because the slope of the root would consist of
 * rounding errors.
 */
const leastSquare = 1e-11;

/**
 * Orthogonal convolution: compares the kernels of a layer at all shifts at which they overlap, not only unshifted.
 *
 *     R = ‖Conv(K, K, padding P, stride S) − I₀‖²_F, P = ⌊(k − 1)/S⌋·S
 *
 * Source: Wang, Chen, Chakraborty, Yu 2020 (arXiv 1911.12207), eq. (10). Its code (samaonline/Orthogonal-Convolutional-Neural-
 * Networks) uses the norm without the square, a default weight of 0.1, and padding 1. With 3×3 kernels it therefore omits the
 * shifts by 2 at stride 1, and at stride 2 compares the identity with kernels shifted by one.
 */
export const ocnn = definePenalty<OcnnOptions>({
  name: "ocnn",
  summary: "orthogonal as a convolution: kernels at all shifts at which they overlap",
  formula: "‖Conv(K, K, padding P, stride S) − I₀‖², P = ⌊(k − 1)/S⌋·S",
  source:
    "Wang, Chen, Chakraborty, Yu 2020 (arXiv 1911.12207), eq. (10), weight 0.1; its code takes the norm without square (norm=frobenius) and pads by 1, which at stride 2 shifts the identity. With dilation D, S/gcd(S, D) in place of S: these taps overlap",
  defaults: { norm: "squared" },
  choices: { norm: ["squared", "frobenius"] },
  about: { norm: "squared as in the paper, or frobenius, its root, as in the published code" },
  on: "weights",
  weight: 0.1,
  ops: ["Conv"],
  build: (layer, { norm }) => {
    const { g, site } = layer;
    const squares = selfConvolutionSquares(layer);
    const least = leastSquare * (site.units / site.groups);
    return meanOfGroupSums(g, norm === "squared" ? squares : g.sqrt(g.max(squares, least)), site.groups);
  },
  reference: (layer, { norm }) => {
    const { convolution } = layer;
    if (!convolution) throw new RangeError("ocnn takes convolutions");
    return ofWeights(layer, (kernels) => {
      const squared = plainSelfConvolution(kernels, convolution);
      if (norm === "squared") return squared;
      const least = leastSquare * kernels.length;
      const root = Math.sqrt(Math.max(squared.value, least));
      const factor = squared.value > least ? 1 / (2 * root) : 0;
      return withGradient(root, () => mapped(squared.gradient, (slope) => slope * factor));
    });
  },
});

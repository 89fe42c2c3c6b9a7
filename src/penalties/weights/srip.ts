import { definePenalty } from "../define.ts";
import { drawn } from "../draws.ts";
import { byGroups, dot, gramOf, mapped, product, transposed } from "../plain-math.ts";
import { UnitMatrix } from "../unit-matrix.ts";
import { meanOfGroupSums } from "../weight-penalty.ts";
import { smallerSide } from "./excess.ts";

/** Options of SRIP. */
export type SripOptions = {
  /** Seed of the random vector where nobody draws it anew (an injected model); 0. */
  readonly seed: number;
};

/** Keeps the division finite where W is orthogonal already. */
const leastSquare = 1e-20;

/**
 * Spectral restricted isometry property: one step of a power iteration from a random vector b, drawn anew at each step.
 *
 *     R = ‖A·v‖², v = A·b/‖A·b‖, A = WWᵀ − I or WᵀW − I (the smaller one), b uniform from 0 to 1
 *
 * The gradient goes through v too.
 * Source: Bansal, Chen, Wang 2018 (arXiv 1810.09102), eq. (9) and (10), as in its code for Wide ResNets
 * (VITA-Group/Orthogonality-in-CNNs): the square of the paper's norm, the smaller product, weight 1e-2, which after 20, 50, 70
 * of 200 epochs falls to 1e-3, 1e-4, 1e-6 of that and is 0 from epoch 121 on (the schedule `srip`). The paper writes
 * σ(WᵀW − I) without square, λ = 0.1, then 1e-3, 1e-4, 1e-6.
 */
export const srip = definePenalty<SripOptions>({
  name: "srip",
  summary: "one step of a power iteration towards the singular value that is furthest from 1",
  formula: "‖A·v‖², v = A·b/‖A·b‖, A = WWᵀ − I (WᵀW − I where smaller), b random at each step",
  source:
    "Bansal, Chen, Wang 2018 (arXiv 1810.09102), eq. (10), as in its code (VITA-Group/Orthogonality-in-CNNs, Wide ResNet): squared, 1e-2; its schedule is schedule=srip",
  defaults: { seed: 0 },
  about: { seed: "of b where nobody draws it anew (an injected model)" },
  on: "weights",
  weight: 1e-2,
  problem: ({ seed }) =>
    Number.isInteger(seed) && seed >= 0 ? undefined : `seed must be a whole number of 0 or more, not ${seed}`,
  build: ({ site, weight, g, draw }, { seed }) => {
    const { units, fanIn, groups, side } = smallerSide(site);
    const size = Math.min(units, fanIn);
    const gram = new UnitMatrix(site, weight, g).gram(side);
    const excess = g.sub(gram, g.identityMatrix(size, gram.type));
    const start = draw({ distribution: "uniform", shape: [1, size], seed, anew: "step" });
    const moved = g.matMul(excess, g.reshape(g.cast(start, gram.type), [size, 1]));
    const length = g.sqrt(g.max(g.reduceSum(g.square(moved), [-2], true), leastSquare));
    return meanOfGroupSums(g, g.square(g.matMul(excess, g.div(moved, length))), groups);
  },
  reference: ({ weights, groups }, { seed }) => {
    const { value, gradient } = byGroups(weights, groups, (rows) => {
      const fewInputs = (rows[0]?.length ?? 0) < rows.length;
      const vectors = fewInputs ? transposed(rows) : rows;
      const size = vectors.length;
      const excess = mapped(gramOf(vectors), (entry, i, j) => entry - (i === j ? 1 : 0));
      const b = Array.from(drawn({ distribution: "uniform", shape: [1, size], seed, anew: "step" }));
      const times = (x: readonly number[]) => excess.map((row) => dot(row, x));
      const moved = times(b);
      const length = Math.sqrt(Math.max(dot(moved, moved), leastSquare));
      const v = moved.map((y) => y / length);
      const result = times(v);
      // R = rᵀr, r = A·v: dA = 2·r·vᵀ, dv = 2·A·r; v = m/|m|: dm = (dv − v(v·dv))/|m|; m = A·b: dA = dm·bᵀ.
      const toV = times(result).map((y) => 2 * y);
      const along = dot(v, toV);
      const toMoved = toV.map((y, i) => (y - (v[i] ?? 0) * along) / length);
      const toExcess = result.map((r, i) => v.map((x, j) => 2 * r * x + (toMoved[i] ?? 0) * (b[j] ?? 0)));
      const pull = toExcess.map((row, i) => row.map((slope, j) => slope + (toExcess[j]?.[i] ?? 0)));
      const toVectors = product(pull, vectors);
      return { value: dot(result, result), gradient: fewInputs ? transposed(toVectors) : toVectors };
    });
    return { value, gradient: { weights: gradient } };
  },
});

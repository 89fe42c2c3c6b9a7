import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { positive } from "../../numbers.ts";
import { defineTransformation } from "../define.ts";
import { alike } from "../each-parameter.ts";
import { inType, lazy } from "../update.ts";

/** Added to the norm, as PyTorch does. */
const epsilon = 1e-6;

/**
 * All updates are multiplied by min(1, maxNorm / (‖u‖ + 1e-6)), ‖u‖ over all parameters together, as
 * torch.nn.utils.clip_grad_norm_ does. A norm that is NaN or infinite makes every update NaN, so that the run stops.
 *
 * @example
 * chain(clipByGlobalNorm(1), adamw());
 */
export const clipByGlobalNorm = defineTransformation(
  {
    name: "clip-by-global-norm",
    title: "Clip gradients by norm",
    summary: "scale gradients down where the norm of all of them together is above this number",
    defaults: {
      /** Above 0. */
      maxNorm: 1,
    },
    ranges: { maxNorm: positive },
    main: "maxNorm",
    flag: "clip-norm",
  },
  ({ maxNorm }, own) => ({
    ...own,
    treatment: alike,
    init: () => [],
    emit: (g, { updates }) => {
      const factor = lazy(() => {
        const norm = g.sqrt(
          sum(
            g,
            updates.map((update) => sumOfSquares(g, update.value())),
          ),
        );
        // ∞·0 is NaN: updates whose squares overflow would silently become 0.
        const share = g.add(g.div(maxNorm, g.add(norm, epsilon)), g.mul(norm, 0));
        // A comparison with NaN is false: NaN stays.
        return g.where(g.greater(share, 1), 1, share);
      });
      return {
        updates: updates.map((update) => update.scaled(() => inType(g, factor(), update.parameter.type))),
        state: [],
      };
    },
    compute: ({ updates }) => {
      const norm = Math.sqrt(updates.flat().reduce((total, value) => total + value * value, 0));
      const share = maxNorm / (norm + epsilon) + norm * 0;
      const factor = share > 1 ? 1 : share;
      return { updates: updates.map((update) => update.map((value) => value * factor)), state: [] };
    },
  }),
);

/** Σ x², in stages if there are many numbers. */
const sumOfSquares = (g: Emit, x: Typed): Typed => g.reduceSum(g.square(x));

/** The sum of scalars in the widest of their types, by halves: the error grows with the logarithm of their number. */
function sum(g: Emit, terms: readonly Typed[]): Typed {
  const [first = g.scalar(0), second] = terms;
  if (!second) return first;
  const half = Math.ceil(terms.length / 2);
  const [a, b] = [sum(g, terms.slice(0, half)), sum(g, terms.slice(half))];
  const type = a.type === "double" ? a.type : b.type;
  return g.add(g.cast(a, type), g.cast(b, type));
}

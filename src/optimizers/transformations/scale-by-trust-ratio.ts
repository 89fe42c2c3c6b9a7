import { defineTransformation } from "../define.ts";
import { eachParameter } from "../each-parameter.ts";

/**
 * u ← u·‖w‖/‖u‖ for each parameter, so that every layer moves by the same share of its own size (arXiv 1708.03888, 1904.00962).
 * Where a norm is 0, u stays as it is; where it is infinite, the update is NaN, so that the run stops.
 *
 * @example
 * chain(addDecayedWeights(1e-4), momentum(0.9), scaleByTrustRatio(), scaleByLearningRate()); // LARS without its coefficient
 */
export const scaleByTrustRatio = defineTransformation(
  {
    name: "scale-by-trust-ratio",
    title: "Trust ratio",
    summary: "gives each update the norm of its parameter",
    defaults: {},
    ranges: {},
  },
  (_, own) =>
    eachParameter({
      ...own,
      // The norm of one parameter.
      treatment: () => undefined,
      emit: (g, { update }) => ({
        update: update.scaled(() => {
          const [weight, size] = [update.parameter, update.value()].map((value) =>
            g.sqrt(g.reduceSum(g.square(value))),
          ) as [typeof update.parameter, typeof update.parameter];
          // A comparison with NaN is false: the update stays as it is, NaN included.
          const both = g.and(g.greater(weight, 0), g.greater(size, 0));
          return g.where(both, g.add(g.div(weight, size), g.mul(size, 0)), 1);
        }),
      }),
      compute: ({ parameter, update }) => {
        const [weight, size] = [parameter, update].map((values) => Math.hypot(...values)) as [number, number];
        const ratio = weight > 0 && size > 0 ? weight / size + size * 0 : 1;
        return { update: update.map((u) => u * ratio) };
      },
    }),
);

import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { defineTransformation } from "../define.ts";
import { alike, eachParameter } from "../each-parameter.ts";
import { Update } from "../update.ts";

/**
 * u ← sign(u): −1, 0 or 1.
 *
 * @example
 * chain(scaleBySign(), scaleByLearningRate()); // signSGD, arXiv 1802.04434
 */
export const scaleBySign = defineTransformation(
  {
    name: "scale-by-sign",
    title: "Sign",
    summary: "takes the sign of updates",
    defaults: {},
    ranges: {},
  },
  (_, own) =>
    eachParameter({
      ...own,
      treatment: alike,
      emit: (g, { update }) => ({
        update: new Update(g, update.parameter, () => ({ direction: () => signOf(g, update.value()) })),
      }),
      compute: ({ update }) => ({ update: update.map(Math.sign) }),
    }),
);

/**
 * −1, 0 or 1, computed from comparisons, because WebGPU has no Sign. NaN stays NaN, so that a run with a NaN gradient fails
 * instead of continuing with parameters that never change again.
 */
export const signOf = (g: Emit, x: Typed): Typed => g.where(g.greater(x, 0), 1, g.where(g.less(x, 0), -1, x));

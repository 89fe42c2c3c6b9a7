import type { Optimizer } from "../optimizers/optimizer.ts";

/** In an optimizer's place: the step graph's "next parameters" are then the gradients of the loss. */
export const gradientOnly: Optimizer = {
  ...{ name: "gradient", options: {}, slots: [] },
  update: (_, { gradient }) => ({ parameter: gradient, slots: [] }),
  reference: ({ gradient }) => ({ parameter: [...gradient], slots: [] }),
};

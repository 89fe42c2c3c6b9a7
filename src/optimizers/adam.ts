import { type AdamOptions, momentOptimizer } from "./moments.ts";
import type { Optimizer } from "./optimizer.ts";

/**
 * Adam (arXiv 1412.6980), as torch.optim.Adam: a weight decay λ is the term λ·w of the gradient.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: crossEntropy(), optimizer: adam({ beta2: 0.99 }) });
 */
export const adam = (options: Partial<AdamOptions> = {}): Optimizer =>
  momentOptimizer(
    "adam",
    { weightDecay: "gradient", epsilon: "corrected" },
    { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
    options,
  );

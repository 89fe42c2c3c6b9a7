import { type AdamOptions, momentOptimizer } from "./moments.ts";
import type { Optimizer } from "./optimizer.ts";

/**
 * AdamW (arXiv 1711.05101), as torch.optim.AdamW: weight decay acts on the parameter, w ← w − lr·λ·w, and not through
 * the gradient.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: crossEntropy(), optimizer: adamw({ weightDecay: 0.05 }) });
 */
export const adamw = (options: Partial<AdamOptions> = {}): Optimizer =>
  momentOptimizer(
    "adamw",
    { weightDecay: "parameter", epsilon: "corrected" },
    { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
    options,
  );

import { type AdamOptions, momentOptimizer } from "./moments.ts";
import type { Optimizer } from "./optimizer.ts";

/**
 * AdamW as ONNX Runtime's training API computes it (com.microsoft.AdamWOptimizer, adam_mode 1, which is that of
 * Hugging Face): ε is added to √v without its correction, and weight decay acts on the updated parameter. The defaults are
 * those of its artifacts. Runs that are rescued from them go on with it.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { loss: "loss", optimizer: adamwOrt() });
 */
export const adamwOrt = (options: Partial<AdamOptions> = {}): Optimizer =>
  momentOptimizer(
    "adamw-ort",
    { weightDecay: "result", epsilon: "plain" },
    { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, weightDecay: 0 },
    options,
  );

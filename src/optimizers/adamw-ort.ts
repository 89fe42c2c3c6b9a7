import { adamOptionRanges } from "./adam.ts";
import { defineOptimizer } from "./define.ts";
import { scaleByAdam } from "./transformations/scale-by-adam.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { decayWeights } from "./transformations/weight-decay.ts";

/**
 * AdamW as ONNX Runtime's training API computes it (com.microsoft.AdamWOptimizer, adam_mode 1, which is that of
 * Hugging Face): ε is added to √v without its correction, and weight decay acts on the updated parameter. The defaults are
 * those of its artifacts. Runs that are rescued from artifacts continue with it.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { loss: "loss", optimizer: adamwOrt() });
 */
export const adamwOrt = defineOptimizer(
  {
    name: "adamw-ort",
    title: "AdamW of ONNX Runtime",
    summary: "AdamW as ONNX Runtime's training API computes it",
    defaults: { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, weightDecay: 0 },
    ranges: adamOptionRanges,
  },
  ({ weightDecay, ...moments }) => [
    scaleByAdam({ ...moments, uncorrectedEpsilon: true }),
    scaleByLearningRate(),
    decayWeights(weightDecay, { after: true }),
  ],
);

import { adam } from "../../src/optimizers/adam.ts";
import { adamw } from "../../src/optimizers/adamw.ts";
import type { Optimizer } from "../../src/optimizers/optimizer.ts";
import { sgd } from "../../src/optimizers/sgd.ts";

/** Options of an optimizer as PyTorch names them and as the fixtures keep them. */
export interface TorchOptimizer {
  readonly kind: "sgd" | "adam" | "adamw";
  readonly lr: number;
  readonly momentum?: number;
  readonly weight_decay?: number;
  readonly betas?: readonly [number, number];
  readonly eps?: number;
}

/** The optimizer of this library that PyTorch's options describe. */
export function optimizerOf({ kind, momentum, weight_decay, betas, eps }: TorchOptimizer): Optimizer {
  const weightDecay = weight_decay ?? 0;
  if (kind === "sgd") return sgd({ weightDecay, momentum: momentum ?? 0 });
  const options = {
    weightDecay,
    ...(betas ? { beta1: betas[0], beta2: betas[1] } : {}),
    ...(eps === undefined ? {} : { epsilon: eps }),
  };
  return kind === "adam" ? adam(options) : adamw(options);
}

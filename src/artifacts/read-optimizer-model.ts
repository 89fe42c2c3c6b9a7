import { SorthError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";

/** An optimizer as the name and options that `--optimizer` and `optimizerNamed` accept. */
export interface NamedOptimizer {
  readonly name: "adamw" | "adamw-ort" | "sgd";
  readonly options: Readonly<Record<string, number>>;
}

/**
 * The optimizer that an optimizer_model.onnx of ONNX Runtime's training API computes.
 * @throws SorthError for a file that is not an optimizer model, or has an unknown form
 *
 * @example
 * readOptimizerModel(await readModel("optimizer_model.onnx")); // { name: "adamw-ort", options: { beta1: 0.9, … } }
 */
export function readOptimizerModel(model: Model): NamedOptimizer {
  const node = graphOf(model).nodes.find(({ domain }) => domain === "com.microsoft");
  if (node && /^SGDOptimizer(V2)?$/.test(node.opType)) return { name: "sgd", options: {} };
  if (node?.opType !== "AdamWOptimizer") {
    throw new SorthError("the file is not an optimizer model of ONNX Runtime's training tools");
  }
  if (node.int("correct_bias", 1) !== 1) {
    throw new SorthError(
      `the optimizer model does not correct the bias of its moments (node "${node.label}"), but every optimizer here does; choose one (--optimizer)`,
    );
  }
  return {
    name: node.int("adam_mode", 0) === 1 ? "adamw-ort" : "adamw",
    options: {
      beta1: decimal(node.float("alpha", 0.9)),
      beta2: decimal(node.float("beta", 0.999)),
      epsilon: decimal(node.float("epsilon", 1e-8)),
      weightDecay: decimal(node.float("weight_decay", 0.01)),
    },
  };
}

/** The decimal number that a float32 attribute stands for: 0.9, not 0.8999999761581421. */
const decimal = (value: number): number => Number(value.toPrecision(7));

import { UsageError } from "../errors.ts";
import { float, int } from "../graph/attribute.ts";
import { Graph } from "../graph/graph.ts";
import { graphToProto } from "../graph/proto.ts";
import { DataType } from "../onnx/data-types.ts";
import { Model } from "../onnx/model.ts";

/** Optimizers for which ONNX Runtime 1.19.2 has a model. */
export const officialOptimizers = ["adamw", "sgd"] as const;
export type OfficialOptimizer = (typeof officialOptimizers)[number];

/**
 * Refuses an optimizer that the official training API has no model for: a name, or an optimizer of this library given by mistake.
 * @throws UsageError that names it
 */
export function checkOfficial(optimizer: unknown): asserts optimizer is OfficialOptimizer {
  if (officialOptimizers.some((one) => one === optimizer)) return;
  const name = typeof optimizer === "string" ? optimizer : (optimizer as { name?: unknown })?.name;
  throw new UsageError(
    `artifacts cannot train with "${String(name)}": ONNX Runtime's training API has models of ${officialOptimizers.join(" and ")} only, without clipping; use buildStep or Trainer`,
  );
}

/** Hyperparameters of AdamW in an optimizer model. They are stored as attributes, so they are fixed once it is written. */
export interface OfficialAdamWOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  readonly weightDecay?: number;
}

/**
 * The optimizer_model.onnx for ONNX Runtime's training API: one node over sequences of all parameters and gradients. The
 * runtime requires its input names and their order, and feeds the learning rate and the step.
 * The wasm build of 1.19.2 loads no SGD models, not even official ones.
 */
export function optimizerModel(kind: OfficialOptimizer, options: OfficialAdamWOptions = {}): Model {
  const graph = new Graph(
    "optimizer",
    new Map([
      ["", 17],
      ["com.microsoft", 1],
    ]),
  );
  const rate = graph.addInput("learning_rate", "float", [1]);
  const step = graph.addInput("step", "int64", [1]);
  const sequence = (name: string) => {
    const value = graph.addInput(name, undefined);
    value.otherType = {
      sequenceType: { elemType: { tensorType: { elemType: DataType.float } } },
    } as typeof value.otherType;
    return value;
  };
  const [parameters, gradients] = [sequence("params"), sequence("gradients")];
  const first = sequence("first_order_moments");
  const inputs =
    kind === "adamw"
      ? [rate, step, parameters, gradients, first, sequence("second_order_moments")]
      : [rate, parameters, gradients];
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-6, weightDecay = 0 } = options;
  const node = graph.addNode({
    opType: kind === "adamw" ? "AdamWOptimizer" : "SGDOptimizerV2",
    domain: "com.microsoft",
    name: kind,
    inputs,
    outputs: ["updated"],
    attributes: new Map(
      kind === "adamw"
        ? [
            ["alpha", float(beta1)],
            ["beta", float(beta2)],
            ["epsilon", float(epsilon)],
            ["weight_decay", float(weightDecay)],
            ["adam_mode", int(1)],
            ["correct_bias", int(1)],
          ]
        : [],
    ),
  });
  const updated = node.outputs[0];
  if (updated) {
    updated.type = "bool";
    updated.shape = [1];
    graph.addOutput(updated);
  }
  return Model.fromProto(graphToProto(graph, { irVersion: 8 }));
}

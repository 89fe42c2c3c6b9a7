import { Emit } from "../graph/emit.ts";
import { typed } from "../graph/emit-base.ts";
import { graphOf, modelOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";
import { lossScaleSlots } from "../optimizers/loss-scale.ts";
import type { SplitStep } from "../programs/split-step.ts";
import type { Reduction, Stage } from "./contract.ts";

type StageGraph = Stage & { readonly model: Model };

/**
 * Lets the gradients of a shard in float16 overflow where those of the joint batch do. A sample counts for more in the mean of its
 * shard than in that of the joint batch, so that a shard multiplies its loss by its share of the scale, and the gradients of all
 * shards are added up: the same numbers run through the backward pass as in one process. Sums that float16 could not hold are
 * infinite, as there.
 * @returns the stages as they are for a step without a scale
 */
export function inJointScale(
  stages: readonly StageGraph[],
  { shared = [], parameters }: Pick<SplitStep["ports"], "shared" | "parameters">,
  shards: number,
): readonly StageGraph[] {
  const scale = shared.find(({ name }) => name === lossScaleSlots.scale);
  if (!scale || shards === 1) return stages;
  const gradients = new Set(parameters.map(({ gradient }) => gradient));
  return stages.map((stage) => {
    const { outputs } = graphOf(stage.model);
    const isHalf = (name: string) => outputs.find((value) => value.name === name)?.producer?.op === "Cast";
    return {
      ...stage,
      model: stage.inputs.includes(scale.input) ? withShare(stage.model, scale.input, shards) : stage.model,
      reduce: stage.reduce.map((one): Reduction => {
        if (!gradients.has(one.name)) return one;
        return { ...one, op: "sum", ...(isHalf(one.name) && { type: "float16" }) };
      }),
    };
  });
}

/** A graph that reads the scale divided by the number of shards. */
function withShare(model: Model, input: string, shards: number): Model {
  const graph = graphOf(model);
  const whole = typed(graph.valueNamed(input));
  const readers = [...whole.uses];
  const emit = new Emit(graph, { prefix: "shard/" });
  const share = emit.div(whole, shards);
  for (const use of readers) graph.setInput(use, share);
  return modelOf(graph, model, { irVersion: Number(model.proto.irVersion) });
}

import { blockOf } from "../block/block.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Objective } from "../losses/objective.ts";
import { objectiveText } from "../losses/objective-text.ts";
import { objectiveNamed } from "../losses/table.ts";
import type { Model } from "../onnx/model.ts";
import type { LossOptions } from "./options.ts";

type Asked = Pick<LossOptions, "objective" | "loss" | "output" | "onMessage">;

/** The loss that inject added to a model, and the value that it reads, or that the options name; undefined without one. */
export function injectedObjective(
  model: Model,
  { output, onMessage }: Omit<Asked, "loss">,
): { readonly objective: Objective; readonly output: string } | undefined {
  const added = blockOf(graphOf(model))?.mark.objective;
  if (!added) return undefined;
  const objective = objectiveNamed(added.name, added.options);
  onMessage?.(
    `loss: ${objectiveText(objective)}, which inject added to the model; objective (--objective) names another`,
  );
  return { objective, output: output ?? added.prediction };
}

/**
 * The options with the loss that inject added to the model, where they name none, or name its output. The block is taken out
 * before a model is trained, and its loss with it.
 */
export function withInjectedObjective<O extends Asked>(model: Model, options: O): O {
  if (options.objective !== undefined) return options;
  const name = blockOf(graphOf(model))?.mark.objective?.output;
  if (name === undefined || (options.loss !== undefined && options.loss !== name)) return options;
  const { loss: _, ...others } = options;
  return { ...others, ...injectedObjective(model, options) } as O;
}

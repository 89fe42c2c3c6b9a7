import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { hasFreeBatch } from "../analysis/dimensions.ts";
import { type NamedOptimizer, readOptimizerModel } from "../artifacts/read-optimizer-model.ts";
import { blockOf } from "../block/block.ts";
import { UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import {
  type Model,
  type OrtCheckpoint,
  type RescuedModel,
  readCheckpoint,
  readModel,
  rescueModel,
  Trainer,
} from "../index.ts";
import { optimizerNamed } from "../optimizers/table.ts";
import { dimensionsOf } from "./dimension-flags.ts";
import { given } from "./options.ts";
import { asksForPenalty } from "./penalty-flags.ts";
import { placementOf, type RunFlags, type TrainingFlags, trainerOptions } from "./train-flags.ts";

/** A run that goes on from artifacts of ONNX Runtime's training tools. */
export interface RescueRun {
  readonly rescued: RescuedModel;
  readonly checkpoint: OrtCheckpoint;
  /** What the optimizer_model.onnx beside the training model computes, if there is one. */
  readonly optimizer: NamedOptimizer | undefined;
}

/** Reads the checkpoint beside a training model, or the one that --checkpoint names, and the optimizer model. */
export async function rescueRun(model: Model, path: string, flags: RunFlags): Promise<RescueRun> {
  const folder = dirname(path);
  const checkpoint = await readCheckpoint(flags.checkpoint ?? join(folder, "checkpoint"));
  const rescued = rescueModel(model, checkpoint);
  const file = join(folder, "optimizer_model.onnx");
  const there = await stat(file).catch(() => undefined);
  return { rescued, checkpoint, optimizer: there && readOptimizerModel(await readModel(file)) };
}

/**
 * Begins a run where the artifacts' run stood. Without --optimizer it goes on with what the optimizer model beside the file
 * computes, else with ONNX Runtime's AdamW; without --lr with the checkpoint's learning rate.
 */
export async function beginRescued(
  { rescued, optimizer }: RescueRun,
  flags: RunFlags & TrainingFlags,
  command: Command,
  onMessage: (message: string) => void,
): Promise<Trainer> {
  if (flags.loss !== undefined || flags.objective !== undefined) {
    throw new UsageError(
      `a training model holds its loss ("${rescued.options.loss}"); leave --loss and --objective out`,
    );
  }
  if (flags.trainable ?? flags.tie ?? flags.untie) {
    throw new UsageError(
      "a training model says which weights are trained and shared; leave --trainable, --tie and --untie out (--freeze leaves some untrained)",
    );
  }
  const graph = graphOf(rescued.model);
  const options = trainerOptions(
    { ...flags, loss: rescued.options.loss },
    {
      // Losses go on as they were: no penalty is added unless one is asked for.
      injected: blockOf(graph) !== undefined || !asksForPenalty(flags),
      freeBatch: hasFreeBatch(graph, dimensionsOf(flags)),
    },
  );
  const chosen = command.getOptionValueSource("optimizer") === "cli";
  const { name, options: own } = optimizer ?? { name: "adamw-ort", options: {} };
  const former = optimizerNamed(name, { ...own, ...given({ weightDecay: flags.weightDecay }) });
  const { output: _, ...rest } = options;
  const trainer = await Trainer.create(rescued.model, {
    ...rest,
    ...rescued.options,
    ...placementOf(flags),
    ...given({ freeze: flags.freeze, normalize: flags.normalize }),
    optimizer: chosen && options.optimizer ? options.optimizer : former,
    ...(flags.lr === undefined &&
      rescued.learningRate !== undefined && { learningRate: rescued.learningRate }),
    onMessage,
  });
  const ports = new Map(trainer.step.ports.parameters.map((port) => [port.name, port.slots]));
  // What --freeze leaves untrained has no slots here.
  const state = [...rescued.state.slots].filter(([parameter]) => ports.has(parameter));
  const fits = state.every(([parameter, slots]) => {
    const own = ports.get(parameter);
    return slots.size === own?.size && [...slots.keys()].every((slot) => own.has(slot));
  });
  if (fits) trainer.takeOver({ slots: new Map(state), updates: rescued.state.updates });
  else onMessage("the optimizer begins anew: the checkpoint holds the state of another one");
  return trainer;
}

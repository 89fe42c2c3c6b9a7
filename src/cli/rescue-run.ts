import { dirname, join } from "node:path";
import type { Command } from "commander";
import { hasFreeBatch } from "../analysis/dimensions.ts";
import { UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import {
  adamwOrt,
  type Model,
  type OrtCheckpoint,
  type RescuedModel,
  readCheckpoint,
  rescueModel,
  sgd,
  Trainer,
} from "../index.ts";
import { blockOf } from "../inject/block.ts";
import { dimensionsOf } from "./dimension-flags.ts";
import { given } from "./options.ts";
import { type RunFlags, type TrainingFlags, trainerOptions } from "./train-flags.ts";

/** A run that goes on from artifacts of ONNX Runtime's training tools. */
export interface RescueRun {
  readonly rescued: RescuedModel;
  readonly checkpoint: OrtCheckpoint;
}

/** Reads the checkpoint beside a training model, or the one that --checkpoint names. */
export async function rescueRun(model: Model, path: string, flags: RunFlags): Promise<RescueRun> {
  const checkpoint = await readCheckpoint(flags.checkpoint ?? join(dirname(path), "checkpoint"));
  return { rescued: rescueModel(model, checkpoint), checkpoint };
}

/**
 * Begins a run where the artifacts' run stood. Without --optimizer it goes on with what the checkpoint's state belongs to:
 * ONNX Runtime's AdamW (also without state), or SGD; without --lr with the checkpoint's learning rate.
 */
export async function beginRescued(
  { rescued, checkpoint }: RescueRun,
  flags: TrainingFlags,
  command: Command,
  onMessage: (message: string) => void,
): Promise<Trainer> {
  if (flags.loss !== undefined || flags.objective !== undefined) {
    throw new UsageError(
      `a training model holds its loss ("${rescued.options.loss}"); leave --loss and --objective out`,
    );
  }
  const graph = graphOf(rescued.model);
  const options = trainerOptions(
    { ...flags, loss: rescued.options.loss },
    { injected: blockOf(graph) !== undefined, freeBatch: hasFreeBatch(graph, dimensionsOf(flags)) },
  );
  const chosen = command.getOptionValueSource("optimizer") === "cli";
  const withState = [...rescued.state.slots.values()].some((slots) => slots.size > 0);
  const descends = checkpoint.optimizer !== undefined && !withState;
  const { weightDecay } = flags;
  const own = descends ? sgd(given({ weightDecay })) : adamwOrt(given({ weightDecay }));
  const { output: _, ...rest } = options;
  const trainer = await Trainer.create(rescued.model, {
    ...rest,
    ...rescued.options,
    ...given({ freeze: flags.freeze }),
    optimizer: chosen ? (options.optimizer ?? own) : own,
    ...(flags.lr === undefined &&
      rescued.learningRate !== undefined && { learningRate: rescued.learningRate }),
    onMessage,
  });
  const slots = new Set(trainer.step.ports.parameters.flatMap((port) => [...port.slots.keys()]));
  const fits = [...rescued.state.slots.values()].every(
    (state) => state.size === slots.size && [...state.keys()].every((slot) => slots.has(slot)),
  );
  if (!fits) onMessage("the optimizer begins anew: the checkpoint holds the state of another one");
  trainer.takeOver(fits ? rescued.state : {});
  return trainer;
}

import { UsageError } from "../errors.ts";
import { checkOptions } from "../known-options.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import type { RescuedModel } from "../programs/rescue.ts";
import type { Step } from "../programs/step.ts";
import type { StepPorts } from "../programs/step-ports.ts";
import { isObject, whatIs } from "../what-is.ts";
import type { TrainerOptions } from "./trainer-options.ts";

/**
 * Options of {@link Trainer.rescue}. The artifacts fix the loss, and which weights are trained and shared. Defaults: the
 * optimizer of the former run, and the learning rate in its checkpoint.
 */
export type RescueOptions = Omit<
  TrainerOptions,
  "loss" | "objective" | "output" | "trainable" | "alsoTrain" | "tie" | "untie"
>;

/**
 * All options of a rescued run.
 * @param given - may repeat the loss of the artifacts, but not name another one
 * @throws UsageError for options that the artifacts fix
 */
async function rescuedOptions(run: RescuedModel, given: TrainerOptions): Promise<TrainerOptions> {
  const { loss, objective, trainable, alsoTrain, tie, untie, ...options } = given;
  const learningRate = options.learningRate ?? run.learningRate;
  if (objective || (loss !== undefined && loss !== run.options.loss)) {
    throw new UsageError(
      `a training model holds its loss ("${run.options.loss}"); leave --loss and --objective out`,
    );
  }
  if (trainable ?? alsoTrain ?? tie ?? untie) {
    throw new UsageError(
      "a training model says which weights are trained and shared; leave --trainable, --tie and --untie out (--freeze leaves some untrained)",
    );
  }
  const optimizer = options.optimizer ?? (await formerOptimizer(run));
  return {
    ...options,
    optimizer,
    ...run.options,
    ...(learningRate !== undefined && { learningRate }),
  };
}

async function formerOptimizer({ optimizer: { name, options } }: RescuedModel): Promise<Optimizer> {
  const { optimizerNamed } = await import("../optimizers/table.ts");
  return optimizerNamed(name, options);
}

/**
 * The optimizer state that a rescued run continues with; undefined, with a message, when the checkpoint holds the state of
 * another optimizer.
 */
function formerState(
  { state: { slots, updates } }: RescuedModel,
  { parameters, average }: Pick<StepPorts, "parameters" | "average">,
  onMessage?: (message: string) => void,
): RescuedModel["state"] | undefined {
  const ports = new Map(parameters.map((port) => [port.name, port.slots]));
  // A parameter that the rescued run freezes has no slots in the new step.
  const trained = new Map([...slots].filter(([parameter]) => ports.has(parameter)));
  const fits = [...trained].every(([parameter, own]) => {
    // An average of weights begins with this run.
    const wanted = [...(ports.get(parameter)?.keys() ?? [])].filter((slot) => slot !== average);
    return own.size === wanted.length && wanted.every((slot) => own.has(slot));
  });
  if (fits) return { slots: trained, updates };
  onMessage?.("the optimizer starts without a state: the checkpoint holds that of another optimizer");
  return undefined;
}

/** What a rescue needs of a trainer. */
interface Rescued {
  readonly step: Pick<Step, "ports">;
  takeOver(state: RescuedModel["state"]): void;
}

/**
 * The trainer of a rescued run, with the state that the run had.
 * @param make - makes a trainer from all its options
 */
export async function rescued<T extends Rescued>(
  run: RescuedModel,
  given: RescueOptions,
  make: (options: TrainerOptions) => Promise<T>,
): Promise<T> {
  checkOptions("rescue", given);
  if (!isObject(run) || !("checkpoint" in run)) {
    throw new UsageError(`a rescued run is what rescueModel or rescueFiles gives, not ${whatIs(run)}`);
  }
  const trainer = await make(await rescuedOptions(run, given));
  const state = formerState(run, trainer.step.ports, given.onMessage);
  if (state) trainer.takeOver(state);
  return trainer;
}

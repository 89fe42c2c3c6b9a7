import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { beforeRecovery } from "../batch-norm/fold-batch-norm.ts";
import { trainedSamples } from "../data/batches.ts";
import { balancedClassWeights } from "../data/class-weights.ts";
import type { Dataset } from "../data/dataset.ts";
import { objectiveFor } from "../data/labels.ts";
import { lengthsOf, siameseOf } from "../data/lengths.ts";
import type { Normalization } from "../data/normalize.ts";
import { checkPairs } from "../data/pairs.ts";
import type { TextConversion } from "../data/text/conversion.ts";
import { objectiveOfTexts } from "../data/text/objective.ts";
import { UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import { type RescuedModel, readModel, Trainer } from "../index.ts";
import { type CrossEntropyOptions, crossEntropy } from "../losses/cross-entropy.ts";
import { choosePrediction } from "../losses/prediction.ts";
import { withTaughtLosses } from "../losses/teaching.ts";
import { isObjective, isOfEmbeddings, termsOf } from "../losses/terms.ts";
import type { Model } from "../onnx/model.ts";
import { sameContents } from "../onnx/stored.ts";
import { optimizerNamed } from "../optimizers/table.ts";
import { withInjectedObjective } from "../programs/injected-objective.ts";
import { type ModelFacts, modelFacts } from "../programs/model-facts.ts";
import type { LossOptions } from "../programs/options.ts";
import type { TrainerOptions } from "../runtime/trainer-options.ts";
import { beginWith, loraOf } from "./adapter-flags.ts";
import { bucketsFor } from "./bucket-flag.ts";
import type { TrainingDataFlags } from "./data-flags.ts";
import { dimensionsOf } from "./dimension-flags.ts";
import { teacherPath, withLossFiles } from "./loss-files.ts";
import { objectiveOf } from "./loss-flags.ts";
import { metricsOf } from "./metric-flags.ts";
import { clipped } from "./optimizer-flags.ts";
import { given } from "./options.ts";
import { partOf } from "./part-flags.ts";
import { asksForPenalty, unpairedText } from "./penalty-flags.ts";
import { type PlacementFlags, placementOf } from "./placement-flags.ts";
import type { Call } from "./train-call.ts";
import { type TrainingFlags, trainerOptions } from "./train-flags.ts";

/** Everything needed to begin a run. */
interface Beginning {
  readonly call: Call;
  readonly command: Command;
  readonly model: Model;
  readonly facts: ModelFacts;
  /** Defined for artifacts of ONNX Runtime's training API. */
  readonly rescued: RescuedModel | undefined;
  /** Undefined where the data come later, as those of workers do. */
  readonly train: Dataset | undefined;
  /** How texts became tokens; undefined for other data. */
  readonly text: TextConversion | undefined;
  /** How samples are scaled; undefined if model and data decide that. */
  readonly normalize: Normalization | undefined;
  readonly onMessage: (message: string) => void;
  readonly onMemory?: TrainerOptions["onMemory"];
}

/** The trainer of a call: of a resumed run, of a run rescued from artifacts, or of a new run. */
export async function trainerFor(asked: Beginning): Promise<Trainer> {
  const { call, model, rescued, onMessage, onMemory } = asked;
  const { path, placement } = call;
  const flags = await withLossFiles(withoutLostTeacher(call.flags));
  const metrics = await metricsOf(flags);
  const beginning = { ...asked, call: { ...call, flags } };
  if (flags.resume) {
    const { teacher } = flags.taught ?? {};
    const others = { ...given({ metrics, teacher, onMemory }), onMessage };
    const options = { ...placement, ...ownObjective(beginning), ...others };
    return resume(rescued?.model ?? model, path, flags.resume, options);
  }
  if (rescued) return beginRescued(rescued, beginning, { ...(metrics && { metrics }) });
  return newTrainer({ ...beginning, ...(metrics && { metrics }), flags });
}

/** The trainer of a new run, as the flags say. */
export async function newTrainer({
  model,
  facts: { block, freeBatch },
  flags,
  train: data,
  text,
  normalize,
  metrics,
  onMessage,
  onMemory,
}: Pick<Beginning, "model" | "facts" | "train" | "text" | "normalize" | "onMessage" | "onMemory"> & {
  readonly flags: TrainingFlags & TrainingDataFlags & PlacementFlags & { readonly validation?: number };
  readonly metrics?: TrainerOptions["metrics"];
}): Promise<Trainer> {
  const balanced = flags.classWeights === "balanced";
  const { classWeights: _, ...others } = flags;
  const asked = withInjectedObjective(model, {
    ...trainerOptions(balanced ? others : flags, {
      ...{ injected: block !== undefined, freeBatch },
      hasLoss: block?.mark.objective !== undefined,
    }),
    onMessage,
  });
  const ofEmbeddings = (asked.objective ? termsOf(asked.objective) : []).some((term) =>
    isOfEmbeddings(term.objective),
  );
  const siamese = ofEmbeddings && data ? siameseOf(model, data) : undefined;
  const lengths = data ? lengthsOf(model, data, { ...asked, ...given({ siamese }) }) : {};
  const chosen = {
    ...(Object.keys(lengths).length > 0 ? { ...asked, dims: { ...lengths, ...asked.dims } } : asked),
    ...given({ siamese }),
  };
  if (balanced && !data) throw new UsageError("--class-weights balanced needs data: give --data too");
  const single = balanced && data ? withBalancedClasses(model, chosen, trainedSamples(data, flags)) : chosen;
  // Decides which losses read the teacher; only after that do the labels decide what kind the other losses are.
  const options = single.teacher ? withTaughtLosses(single) : single;
  const own = options.objective && objectiveOfTexts(options.objective, text);
  const isRead = flags.labels ?? flags.classAxis;
  const { objective, remark } =
    own && data && isRead === undefined ? objectiveFor(own, data) : { objective: own, remark: undefined };
  if (remark !== undefined) onMessage(remark);
  const hasNewHead = flags.classes !== undefined;
  const { lora, from } = await loraOf(flags, hasNewHead);
  const trainable = await partOf(model, flags, hasNewHead, onMessage);
  const lone =
    lora?.rank === 1 ? "an adapter of rank 1 has" : lora?.ia3 ? "the factors of IA³ have" : undefined;
  const asks = flags.penalty?.some((text) => text !== "none");
  const unpaired =
    lone !== undefined && !lora?.trainHead && (flags.penalty === undefined || (lora?.ia3 && asks));
  if (unpaired) onMessage(unpairedText(`${lone} no two directions to compare`, flags));
  const trainer = await Trainer.create(model, {
    ...options,
    ...(unpaired && { penalties: [] }),
    ...given({ lora, trainable }),
    ...given({ objective, normalize, mixup: flags.augment?.mixup }),
    ...given({ metrics, onMemory }),
    ...(flags.buckets && { buckets: bucketsFor(flags.buckets, data) }),
    ...placementOf(flags),
    onMessage,
  });
  if (data) checkPairs(data, trainer.options.objective, trainer.step.ports);
  beginWith(trainer, from);
  return trainer;
}

/** The flags of a resumed run without a teacher whose file is gone: the run has a copy. */
const withoutLostTeacher = <F extends Call["flags"]>({ teacher, ...flags }: F) =>
  teacher === undefined || (flags.resume !== undefined && !existsSync(teacherPath(teacher).path))
    ? flags
    : { ...flags, teacher };

/** Continues a run of ONNX Runtime's training API. Flags override its options. */
function beginRescued(
  run: RescuedModel,
  { call: { flags }, command, normalize, onMessage, onMemory }: Beginning,
  metrics: Pick<TrainerOptions, "metrics">,
): Promise<Trainer> {
  const { block, freeBatch } = modelFacts(run.model, dimensionsOf(flags));
  // --prediction names the output of the inference model, which is written at the end.
  const { output: _, ...options } = trainerOptions(
    { ...flags, loss: flags.loss ?? run.options.loss },
    {
      // Former losses stay: no penalty is added unless a flag asks for one.
      injected: block !== undefined || !asksForPenalty(flags),
      freeBatch,
    },
  );
  const former = () => {
    const { name, options: constants } = run.optimizer;
    return clipped(
      flags,
      optimizerNamed(name, { ...constants, ...given({ weightDecay: flags.weightDecay }) }),
    );
  };
  return Trainer.rescue(run, {
    ...options,
    ...placementOf(flags),
    ...given({ normalize, mixup: flags.augment?.mixup }),
    ...(command.getOptionValueSource("optimizer") !== "cli" && { optimizer: former() }),
    ...metrics,
    ...given({ onMemory }),
    onMessage,
  });
}

/** The objective of a resumed run, if its losses are files: a checkpoint does not hold them. */
function ownObjective({ call: { flags }, train }: Beginning): Pick<TrainerOptions, "objective"> {
  const { objective } = flags.losses ? objectiveOf(flags) : {};
  if (!objective) return {};
  return { objective: train ? objectiveFor(objective, train).objective : objective };
}

/** @throws UsageError when the run trains another model. */
async function resume(
  model: Model,
  path: string,
  folder: string,
  options: Parameters<typeof Trainer.resume>[1],
): Promise<Trainer> {
  const kept = beforeRecovery(await readModel(join(folder, "model.onnx")));
  if (!sameContents(beforeRecovery(model).pieces, kept.pieces)) {
    throw new UsageError(
      `the run in "${folder}" trains another model than "${path}"; give the one it was begun with`,
    );
  }
  return Trainer.resume(folder, options);
}

/**
 * The options of a run with class weights by how rare each class is in its training data.
 * @throws UsageError for another loss than the cross-entropy, DataError for labels that are no classes
 */
function withBalancedClasses<O extends LossOptions>(model: Model, options: O, data: Dataset): O {
  const { objective, output } = options;
  if (!objective || !isObjective(objective) || objective.name !== "cross-entropy") {
    throw new UsageError("--class-weights balanced belongs to --objective cross-entropy");
  }
  const { declared } = choosePrediction(graphOf(model), objective, output).value;
  // Free axes count as 1: their lengths decide on the class axis only with the option labelPlaces.
  const shape = declared?.map((dim) => (typeof dim === "number" ? dim : 1));
  const classes = shape && declared?.[objective.classAxis?.(shape) ?? 1];
  const weights = balancedClassWeights(data, typeof classes === "number" ? classes : undefined);
  return {
    ...options,
    objective: crossEntropy({ ...(objective.options as CrossEntropyOptions), classWeights: weights }),
  };
}

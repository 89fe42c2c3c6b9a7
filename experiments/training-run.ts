import {
  crossEntropy,
  type Dataset,
  type Model,
  responseAngles,
  SorthError,
  sampleFeeds,
  Trainer,
  weightAngles,
} from "../src/index.ts";
import { optimizerNamed } from "../src/optimizers/table.ts";
import { parsePlan } from "../src/penalties/text.ts";
import { type DataName, dataOf, type RunData } from "./data-sets.ts";
import { type NetworkName, network } from "./networks.ts";

/** One stage of training. */
export interface Stage {
  readonly data: DataName;
  /** Training samples, drawn by the run's seed. */
  readonly samples: number;
  readonly epochs: number;
  readonly learningRate: number;
  readonly optimizer?: "adamw" | "sgd";
  /** Weight decay of AdamW; default 0, so that only the penalty regularizes. */
  readonly weightDecay?: number;
  /** Penalties as on the command line: `som:gamma=5,weight=0.1`. */
  readonly penalties?: readonly string[];
}

/** A network, trained in one or more stages. It determines everything: the same run gives the same bits. */
export interface TrainingRun {
  readonly network: NetworkName;
  /** Seed of the initial weights, the samples, their order, and the random numbers of penalties. */
  readonly seed: number;
  readonly stages: readonly Stage[];
  /** Numbers of validation and test samples to evaluate. */
  readonly validation: number;
  readonly test: number;
}

/** Spread (standard deviation) of the angles between the units of a layer in degrees; 0 if all are orthogonal. */
export interface LayerSpread {
  readonly name: string;
  readonly weights: number;
  readonly responses: number;
}

/** The outcome of a run. */
export interface Outcome {
  /** Shares of correctly classified samples. */
  readonly validation: number;
  readonly test: number;
  /** Mean loss over the test set, without penalty. */
  readonly testLoss: number;
  /** Mean total loss of the last epoch. */
  readonly trainingLoss: number;
  readonly layers: readonly LayerSpread[];
  /** The step at which the loss became NaN or infinite; the figures are then those of the last state before. */
  readonly divergedAt?: number;
}

/** Number of samples on which response angles are measured. */
const angleSamples = 256;
const batch = 32;

/** Trains and measures a run on one CPU thread. */
export async function train(run: TrainingRun): Promise<Outcome> {
  let model = network(run.network, run.seed);
  let trained: StageResult | undefined;
  let data: RunData | undefined;
  for (const stage of run.stages) {
    const { validation, test, seed } = run;
    data = await dataOf(stage.data, { seed, samples: stage.samples, validation, test });
    trained = await trainStage(model, stage, data, seed);
    model = trained.model;
    if (trained.divergedAt !== undefined) break;
  }
  if (!trained || !data) throw new Error("a run needs a stage");
  const { model: _, ...figures } = trained;
  return { ...figures, layers: await spreads(model, data.test) };
}

type StageResult = Omit<Outcome, "layers"> & { readonly model: Model };

async function trainStage(model: Model, stage: Stage, data: RunData, seed: number): Promise<StageResult> {
  const { optimizer = "adamw", weightDecay = 0, learningRate, penalties = [] } = stage;
  const trainer = await Trainer.create(model, {
    objective: crossEntropy(),
    optimizer: optimizerNamed(optimizer, optimizer === "sgd" ? { momentum: 0.9 } : { weightDecay }),
    penalties: penalties.map(parsePlan),
    ...{ batch, learningRate, seed, schedule: "cosine", threads: 1 },
  });
  try {
    let trainingLoss = Number.NaN;
    let divergedAt: number | undefined;
    try {
      for await (const event of trainer.fit(data.train, { epochs: stage.epochs })) {
        if (event.event === "epoch") trainingLoss = event.loss;
      }
    } catch (error) {
      if (!(error instanceof SorthError && /^the loss became/.test(error.message))) throw error;
      divergedAt = trainer.steps + 1;
    }
    const validation = await trainer.evaluate(data.validation);
    const test = await trainer.evaluate(data.test);
    await trainer.readState();
    return {
      ...{ model: trainer.export(), trainingLoss },
      ...{ validation: validation.accuracy ?? Number.NaN, test: test.accuracy ?? Number.NaN },
      testLoss: test.loss,
      ...(divergedAt === undefined ? {} : { divergedAt }),
    };
  } finally {
    await trainer.release();
  }
}

async function spreads(model: Model, test: Dataset): Promise<LayerSpread[]> {
  const weights = await weightAngles(model, { spectra: false });
  const responses = await responseAngles(model, await sampleFeeds(model, test, angleSamples));
  return weights.layers.map(({ name, spread }) => ({
    name,
    weights: spread,
    responses: responses.layers.find((layer) => layer.name === name)?.spread ?? Number.NaN,
  }));
}

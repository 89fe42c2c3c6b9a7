import { adaptedSites } from "../adapters/adapted-sites.ts";
import { hasAdapters } from "../analysis/adapter-names.ts";
import type { Probe } from "../analysis/probe.ts";
import { drawn } from "../data/batches.ts";
import { checkDataset } from "../data/check-dataset.ts";
import type { Dataset } from "../data/dataset.ts";
import { sampleFeeds } from "../data/sample-feeds.ts";
import { given } from "../given.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, countFromZero } from "../numbers.ts";
import { checkTrainer } from "../runtime/check-trainer.ts";
import type { Trainer } from "../runtime/trainer.ts";
import type { LayerResponseAngles, LayerWeightAngles } from "./angle-report.ts";
import { responseAngles } from "./response-angles.ts";
import { type RunLimits, runLimits } from "./unit-sample.ts";
import { weightAngles } from "./weight-angles.ts";

/** Options of {@link trainerAngles}. */
export interface TrainerAngleOptions {
  /** Measure weight angles (default true). */
  readonly weights?: boolean;
  /** Samples to measure response angles on, drawn with a fixed seed (default 256, or fewer for a large network; 0 for none). */
  readonly samples?: number;
  /** Steepness of tanh(γY) for response angles (default 10). */
  readonly gamma?: number;
  /** Also returns the weight vectors (default false). */
  readonly vectors?: boolean;
  /** Also returns the matrices of cosines of responses (default false). */
  readonly cosines?: boolean;
  /** Measures all units, and all 256 samples, of a large network too, however long it takes (default false). */
  readonly full?: boolean;
}

const optionNames = {
  ...{
    weights: "flag",
    samples: true,
    gamma: true,
    vectors: "flag",
    cosines: "flag",
    full: "flag",
    onLimit: "function",
  },
} as const satisfies OptionNames<TrainerAngleOptions & Pick<RunLimits, "onLimit">>;

/** The angles of one layer of a run. */
export interface TrainerAngles {
  readonly name: string;
  readonly weights: LayerWeightAngles | undefined;
  readonly responses: LayerResponseAngles | undefined;
}

/** Does a measurement; may return undefined instead of throwing. */
export type Attempt = <T>(what: string, measurement: () => Promise<T>) => Promise<T | undefined>;

/** Measures the angles of a run in its current state. `Library.trainerAngles` documents it. */
export async function trainerAngles(
  trainer: Trainer,
  dataset: Dataset,
  options: TrainerAngleOptions & Pick<RunLimits, "onLimit">,
  probe: Probe,
  attempt: Attempt = (_, measurement) => measurement(),
): Promise<TrainerAngles[]> {
  checkTrainer(trainer);
  checkDataset(dataset);
  checkKnown("trainerAngles", options, optionNames);
  const { weights = true, samples = 256, gamma, vectors = false, cosines = false } = options;
  checkNumber("the number of samples", samples, countFromZero);
  if (!weights && samples === 0) return [];
  const model = await attempt("angles", async () => {
    await trainer.readState();
    return trainer.export();
  });
  if (!model) return [];
  const { batch, dims, normalize = "none" } = trainer.options;
  const { share, forward } = runLimits;
  const limits = options.full
    ? { full: true }
    : given({
        share,
        onLimit: options.onLimit,
        forward: options.samples === undefined ? forward : undefined,
      });
  const sizes = given({ batch, dims });
  const ofWeights = weights
    ? await attempt("weight angles", () =>
        weightAngles(model, { ...sizes, ...limits, vectors, spectra: false }, probe),
      )
    : undefined;
  const ofResponses =
    samples > 0
      ? await attempt("response angles", async () => {
          const feeds = await sampleFeeds(model, drawn(dataset, samples), samples, { normalize });
          const settings = { ...limits, ...(gamma !== undefined && { gamma }), cosines };
          // Beside their adapters, the weights of a large base stay in its file.
          const adapted = hasAdapters(trainer.model) && !hasAdapters(model);
          return adapted
            ? responseAngles(trainer.export({ merge: false }), feeds, settings, probe, adaptedSites)
            : responseAngles(model, feeds, settings, probe);
        })
      : undefined;
  const found = [...(ofWeights?.layers ?? []), ...(ofResponses?.layers ?? [])];
  return [...new Set(found.map(({ name }) => name))].map((name) => ({
    name,
    weights: ofWeights?.layers.find((layer) => layer.name === name),
    responses: ofResponses?.layers.find((layer) => layer.name === name),
  }));
}

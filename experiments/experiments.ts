import { allPenalties } from "./all-penalties.ts";
import { batchNorm } from "./batch-norm.ts";
import { type AnyExperiment, anyExperiment } from "./experiment.ts";
import { fineTuning } from "./fine-tuning.ts";
import { lsh } from "./lsh.ts";
import { pointClouds } from "./point-clouds.ts";
import { reduction } from "./reduction.ts";
import { rows } from "./rows.ts";

/** All experiments, in the order of README.md. */
export const experiments: readonly AnyExperiment[] = [
  anyExperiment(lsh),
  anyExperiment(reduction),
  anyExperiment(batchNorm),
  anyExperiment(allPenalties),
  anyExperiment(pointClouds),
  anyExperiment(rows),
  anyExperiment(fineTuning),
];

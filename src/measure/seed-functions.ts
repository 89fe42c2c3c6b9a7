import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../onnx/model.ts";
import type { SeedsResult, TrainSeedsOptions } from "./train-seeds.ts";

/** Functions of the library that train several times. */
export interface SeedFunctions {
  /**
   * Trains a model once for each of several seeds, and says how far the figures of the runs spread: their mean, its 95 %
   * interval (Student's t) and their standard deviation. The weights of a run are those of its last step.
   *
   * @param model - each run begins with its weights
   * @param dataset - the samples to train on
   * @param options - the seeds, and the options of a trainer and of its fit; `test`: samples on which each model is evaluated
   * @returns the model and the figures of each run, and the summary; an aborted run is left out
   * @throws SorthError as a trainer does; UsageError without seeds, or for one that is given twice
   *
   * @example
   * import { crossEntropy, loadMnist, readModel, trainSeeds } from "sorth-onnx";
   *
   * const { train, test = train } = await loadMnist();
   * const options = { objective: crossEntropy(), batch: 32, maxSteps: 20, test };
   * const { summary } = await trainSeeds(await readModel("model.onnx"), train, { ...options, seeds: [1, 2, 3] });
   * console.log(summary["test.accuracy"]); // { runs: 3, mean: …, interval: […], standardDeviation: … }
   */
  trainSeeds(model: Model, dataset: Dataset, options: TrainSeedsOptions): Promise<SeedsResult>;
}

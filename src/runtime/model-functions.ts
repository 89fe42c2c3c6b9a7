import type { Dataset } from "../data/dataset.ts";
import type { Augmentation } from "../data/images/augment.ts";
import type { SampleFeedOptions } from "../data/sample-feeds.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { EvaluateOptions, ModelEvaluation } from "./model-evaluation.ts";
import type { Prediction, PredictOptions } from "./predict.ts";
import type { RecoverBatchNormOptions } from "./recover-batch-norm.ts";
import type { UpdateBatchNormOptions } from "./update-batch-norm.ts";

/** The functions of {@link Library} that change data, and that run a model over them. */
export interface ModelFunctions {
  /**
   * A dataset whose images change at random while training, and stay as they are for an evaluation: `--augment` for arrays of
   * images. The changes depend on the run's seed, the epoch and the sample only.
   *
   * @param dataset - its images are uint8 or floats, [height, width], [channels, height, width] or [height, width, channels]
   * with 1 or 3 channels
   * @throws SorthError for a dataset without such images, and for colours of numbers that are no pixels
   *
   * @example
   * import { augmentedDataset, loadMnist } from "sorth-onnx";
   *
   * const { train } = await loadMnist();
   * const shifted = await augmentedDataset(train, { crop: 4 }); // for trainer.fit(shifted)
   */
  augmentedDataset(dataset: Dataset, changes: Augmentation): Promise<Dataset>;

  /**
   * Gives a model the BatchNorm back that its exporter folded into the weights, so that it can be trained with it. The mean μ
   * and variance σ² of each folded layer's response are measured on data, unit by unit; the layer then gets a
   * BatchNormalization with these statistics, scale √(σ² + ε) and bias μ, and loses its own bias. In inference form the model
   * computes what it did, which is checked and reported. A `Trainer` trains the new scales and biases and normalizes by
   * batches (`batchNorm: "train"`); what it exports has BatchNorm folded again, so that only weights differ from the file.
   *
   * Layers that get one: those that PyTorch's exporter has noted; without notes every convolution with a bias (in a model
   * without convolutions every Gemm, and MatMul with Add), but not the last layer, nor one on single points as in
   * squeeze-and-excitation, nor one that another normalization follows. `include` and `exclude` decide otherwise.
   *
   * @param model - float32; it is not changed
   * @param dataset - usually the training data; labels are not read
   * @param options - how many samples to measure on (default 1024, drawn by `seed`), which layers, batch size, backend
   * @returns a model of views of the old bytes with new records between them; {@link ModelFunctions.foldBatchNorm} undoes it
   * @throws SorthError with the code `model` when no layer reads as folded, `data` when samples do not fit; UsageError for a
   * pattern that matches no layer
   *
   * @example
   * import { crossEntropy, loadMnist, readModel, recoverBatchNorm, Trainer, writeModel } from "sorth-onnx";
   *
   * const { train } = await loadMnist();
   * const model = await recoverBatchNorm(await readModel("model.onnx"), train, { batch: 64 });
   * const trainer = await Trainer.create(model, { objective: crossEntropy(), batch: 64 });
   * for await (const _ of trainer.fit(train, { maxSteps: 20 }));
   * await writeModel(trainer.export(), "folded.onnx"); // BatchNorm is folded again
   * await trainer.release();
   */
  recoverBatchNorm(model: Model, dataset: Dataset, options?: RecoverBatchNormOptions): Promise<Model>;

  /**
   * Folds what `recoverBatchNorm` has put into a model back into the layers. With scale γ, bias β and running statistics μ, σ² of
   * a BatchNormalization and s = γ/√(σ² + ε), the layer's weight becomes s·W, unit by unit, and its bias β − s·μ. The file then
   * has the form in which it was exported: every byte but those of these weights and biases is what it was.
   *
   * @returns the model itself if nothing in it was recovered
   * @throws SorthError with the code `file` if another program has changed these nodes
   *
   * @example
   * import { foldBatchNorm, loadMnist, readModel, recoverBatchNorm } from "sorth-onnx";
   *
   * const { train } = await loadMnist();
   * const same = await foldBatchNorm(await recoverBatchNorm(await readModel("model.onnx"), train));
   */
  foldBatchNorm(model: Model): Promise<Model>;

  /**
   * Computes the running statistics of a model's BatchNormalization again, with the weights that it has: the means over batches of
   * each batch's mean and variance, in training form, as `torch.optim.swa_utils.update_bn`. For weights that no step has trained,
   * such as an average. Dropout is off, where PyTorch leaves it on.
   *
   * @param dataset - the training data; labels are not read, and samples that fill no batch are left out
   * @param options - `batch`: that of the training; `samples` to read fewer
   * @returns the model with other running statistics, every other byte as it was
   * @throws SorthError with the code `model` if nothing has running statistics, `data` when samples do not fit
   *
   * @example
   * import { loadMnist, readModel, updateBatchNorm } from "sorth-onnx";
   *
   * const { train } = await loadMnist();
   * const model = await updateBatchNorm(await readModel("cnn.onnx"), train, { batch: 64, samples: 256 });
   */
  updateBatchNorm(model: Model, dataset: Dataset, options?: UpdateBatchNormOptions): Promise<Model>;

  /**
   * The first samples of a dataset as tensors for a model's inputs, in the types that the model declares. Each array is fed to
   * the input of its name, x to the only data input, and labels only to label inputs.
   *
   * @param count - number of samples; the result has fewer if the dataset has fewer. If each sample holds several inputs of the
   * model (pairs, triplets), they follow one another and the result has as many times more rows
   * @returns tensors by input name, with the samples on the model's batch axis
   * @throws SorthError when the samples do not fit the model, or when an input has no array
   *
   * @example
   * import { loadMnist, readModel, sampleFeeds } from "sorth-onnx";
   *
   * const { train } = await loadMnist();
   * const model = await readModel("model.onnx");
   * const feeds = await sampleFeeds(model, train, 256); // Map { "x" => float [256, 1, 28, 28] }
   */
  sampleFeeds(
    model: Model,
    dataset: Dataset,
    count: number,
    options?: SampleFeedOptions,
  ): Promise<Map<string, Tensor>>;

  /**
   * Evaluates a model on a dataset: loss, accuracy, and the figures that belong to the loss. For class labels these are precision,
   * recall and F1 of each class, the confusion matrix and top-5 accuracy; for yes-or-no labels also the area under the curve; for
   * numbers the mean absolute error and R². The model runs in inference form (stored statistics, no Dropout, no penalty).
   *
   * @param model - with its weights; every data input must find an array in the dataset
   * @param dataset - with labels; each sample is counted once
   * @param options - the loss (default cross-entropy), the value to read, batch size, backend
   * @returns figures that JSON can hold; indices of samples are those of the dataset
   * @throws SorthError with the code `data` when samples or labels do not fit, `runtime` when ONNX Runtime refuses the model
   *
   * @example
   * import { evaluateModel, loadMnist, readModel } from "sorth-onnx";
   *
   * const { train, test = train } = await loadMnist();
   * const { accuracy, classes } = await evaluateModel(await readModel("model.onnx"), test);
   * console.log(accuracy, classes?.confusion);
   */
  evaluateModel(model: Model, dataset: Dataset, options?: EvaluateOptions): Promise<ModelEvaluation>;

  /**
   * Runs a model on every sample of a dataset, as {@link ModelFunctions.evaluateModel} does, and hands out the answers one by one:
   * probabilities and the class for a model of classes, probabilities for yes-or-no labels, else the numbers themselves.
   *
   * @param model - with its weights
   * @param dataset - labels are not read
   * @param options - the loss that the model was trained with, the value to read, batch size, backend
   * @throws SorthError with the code `data` when samples do not fit, `runtime` when ONNX Runtime refuses the model
   *
   * @example
   * import { loadMnist, predict, readModel } from "sorth-onnx";
   *
   * const { train, test = train } = await loadMnist();
   * for await (const { sample, answer } of predict(await readModel("model.onnx"), test)) console.log(sample, answer);
   */
  predict(
    model: Model,
    dataset: Dataset,
    options?: PredictOptions,
  ): AsyncGenerator<Prediction, void, undefined>;
}

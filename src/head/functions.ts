import type { ModelPart } from "../analysis/model-part.ts";
import type { FreeBatchOptions } from "../free-batch/free-batch.ts";
import type { Model } from "../onnx/model.ts";
import type { TrainablePartOptions } from "../programs/trainable-part.ts";
import type { HeadOptions } from "./replace-head.ts";

/** The functions of {@link Library} that prepare a model for another task. */
export interface HeadFunctions {
  /**
   * Gives a classifier new classes: replaces its last layer, the one that the output reads through a Softmax or Sigmoid,
   * pooling, resizing and changes of shape, by a fresh layer of as many units as there are classes. Everything else stays byte for
   * byte; `Trainer` then trains all of the model, or the new layer alone (`trainable`).
   *
   * @param model - ends in a Gemm, a MatMul (and Add) or a Conv with a stored weight; it is not changed
   * @param options - the number or the names of the classes, and the seed of the new weights: uniform in ±1/√fanIn, as
   *   torch.nn.Linear draws them
   * @returns a model of views of the old bytes with the new records between them; it holds the names of the classes
   * @throws UsageError for no class or two of one name; SorthError with the code `model` when no such layer lies in front
   *   of the output, its weight is quantized, or something behind it counts on the old number of classes
   *
   * @example
   * import { readModel, replaceHead, writeModel } from "sorth-onnx";
   *
   * const pets = await replaceHead(await readModel("model.onnx"), { classes: ["cat", "dog", "hamster"] });
   * await writeModel(pets, "pets.onnx");
   */
  replaceHead(model: Model, options: HeadOptions): Promise<Model>;

  /**
   * Frees the batch of a model whose exporter fixed it at one sample: its inputs take any number of samples, and so do the
   * operators into which the exporter wrote the one (targets of Reshape and Resize, constants that a Concat or a recurrent
   * operator joins to each sample). Everything else stays. The result is checked: three random samples at once must give what
   * the original gives for each.
   *
   * @param model - every data input has an axis of length 1 for the samples; it is not changed
   * @param options - lengths of other free dimensions, and where to report what was changed and checked
   * @returns a model whose batch dimension is called `batch`
   * @throws SorthError with the code `model` when the batch is free already or no axis could count samples, and with the first
   *   operator that mixes samples or works on one alone
   *
   * @example
   * import { freeBatch, readModel, writeModel } from "sorth-onnx";
   *
   * await writeModel(await freeBatch(await readModel("single.onnx")), "single.batch.onnx");
   */
  freeBatch(model: Model, options?: FreeBatchOptions): Promise<Model>;

  /**
   * A pattern for the option `trainable` that matches a part of a model which is often trained alone: its biases, or its last
   * blocks with what comes after them.
   *
   * @param model - its parameters are those that a `Trainer` finds
   * @param part - `"biases"` (BitFit, arXiv 2106.10199), those of normalizations included; or `{ lastBlocks: 2 }`. Blocks are
   *   what the names number (`encoder.layer.11`, `layer4.1`); in a model without such names each layer is one
   * @param options - `withHead` adds a fresh last layer to the biases
   * @throws UsageError for a model without biases, or with fewer blocks
   *
   * @example
   * import { crossEntropy, readModel, Trainer, trainablePart } from "sorth-onnx";
   *
   * const model = await readModel("model.onnx");
   * const trainable = await trainablePart(model, "biases");
   * const trainer = await Trainer.create(model, { objective: crossEntropy(), trainable, batch: 16 });
   */
  trainablePart(model: Model, part: ModelPart, options?: TrainablePartOptions): Promise<RegExp>;
}

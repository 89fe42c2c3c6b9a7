import type { Dataset } from "../../data/dataset.ts";
import type { ModelEvaluation } from "../../runtime/model-evaluation.ts";
import type { RunRecord } from "../run-record.ts";
import type { AnglePageOptions, PageModel } from "./angle-page.ts";
import type { EvaluationPageOptions } from "./evaluation-page.ts";
import type { RunPageOptions } from "./run-page.ts";

/** The functions of `Library` that draw pages. */
export interface PageFunctions {
  /**
   * Draws the angles of one or several models as a page: one self-contained HTML text with histograms, heat maps, spectra
   * and tables, that needs no script and no network. Histograms and heat maps are there if the angles were measured with
   * `anglePictures`. In a browser it is to be called in a page, not in a worker, which has no document to draw in.
   *
   * @param models - a name for each model, its weight angles, and optionally response angles and the record of its run
   * @param options - where the samples came from, for the caption
   * @returns the HTML text
   * @throws UsageError in a worker
   *
   * @example
   * import { writeFile } from "node:fs/promises";
   * import { anglePictures, angleReportPage, readModel, weightAngles } from "sorth-onnx";
   *
   * const weights = await weightAngles(await readModel("model.onnx"), anglePictures);
   * await writeFile("angles.html", await angleReportPage([{ model: "model.onnx", weights }]));
   */
  angleReportPage(models: readonly PageModel[], options?: AnglePageOptions): Promise<string>;

  /**
   * Draws a training run as a page, as {@link PageFunctions.angleReportPage} does: curves of loss and accuracy, the penalty's share
   * and gradients, angles.
   *
   * @param run - the events of `observe` (or of `trainer.fit` alone), or a record that `parseRunRecord` read
   * @param options - the page's title, and lines about the run
   * @returns the HTML text
   * @throws UsageError in a worker
   *
   * @example
   * import { writeFile } from "node:fs/promises";
   * import { crossEntropy, loadMnist, readModel, runReportPage, Trainer } from "sorth-onnx";
   *
   * const { train } = await loadMnist();
   * const trainer = await Trainer.create(await readModel("model.onnx"), { objective: crossEntropy(), batch: 32 });
   * const events = [];
   * for await (const event of trainer.fit(train, { maxSteps: 20 })) events.push(event);
   * await trainer.release();
   * await writeFile("report.html", await runReportPage(events, { title: "MNIST" }));
   */
  runReportPage(run: RunRecord | Iterable<unknown>, options?: RunPageOptions): Promise<string>;

  /**
   * Draws an evaluation as a page, as {@link PageFunctions.angleReportPage} does: figures, a table of the classes, the confusion matrix,
   * and the samples with the highest loss, images among them as pictures.
   *
   * @param evaluation - of `evaluateModel`
   * @param dataset - the data that were evaluated
   * @param options - the page's title, lines about model and data, names of the classes
   * @returns the HTML text
   * @throws UsageError in a worker
   *
   * @example
   * import { writeFile } from "node:fs/promises";
   * import { evaluateModel, evaluationReportPage, loadMnist, readModel } from "sorth-onnx";
   *
   * const { train, test = train } = await loadMnist();
   * const evaluation = await evaluateModel(await readModel("model.onnx"), test);
   * await writeFile("evaluation.html", await evaluationReportPage(evaluation, test));
   */
  evaluationReportPage(
    evaluation: ModelEvaluation,
    dataset: Dataset,
    options?: EvaluationPageOptions,
  ): Promise<string>;
}

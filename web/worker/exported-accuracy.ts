import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-web/webgpu";
import {
  type Dataset,
  encodeModel,
  type Model,
  rescuedInference,
  sampleFeeds,
  UsageError,
} from "../../src/web.ts";

/**
 * Accuracy of a model that holds its loss, as anyone's ONNX Runtime would find it: its inference form is run on every sample.
 * @param batch - samples in a run
 * @returns undefined where the loss does not tell which value is the prediction
 */
export async function exportedAccuracy(
  trained: Model,
  dataset: Dataset,
  batch: number,
): Promise<number | undefined> {
  const model = inferenceForm(trained);
  if (!model || dataset.y.classes === undefined) return undefined;
  const session = await InferenceSession.create(encodeModel(model), { executionProviders: ["wasm"] });
  try {
    const feeds = sampleFeeds(model, dataset, dataset.size);
    const [[name, x] = []] = feeds;
    if (name === undefined || !(x?.data instanceof Float32Array)) return undefined;
    const labels = labelsOf(dataset, x.data.length);
    const perSample = x.data.length / dataset.size;
    let correct = 0;
    for (let start = 0; start < dataset.size; start += batch) {
      // The file may fix its batch: the last run is filled up, and what was added does not count.
      const rows = new Float32Array(batch * perSample);
      rows.set(x.data.subarray(start * perSample, (start + batch) * perSample));
      const outputs = await session.run({
        [name]: new OrtTensor("float32", rows, [batch, ...x.dims.slice(1)]),
      });
      const scores = outputs[session.outputNames[0] ?? ""]?.data as Float32Array;
      const classes = scores.length / batch;
      for (let row = 0; row < Math.min(batch, dataset.size - start); row++) {
        const own = scores.subarray(row * classes, (row + 1) * classes);
        if (own.indexOf(Math.max(...own)) === labels[start + row]) correct++;
      }
    }
    return correct / dataset.size;
  } finally {
    await session.release();
  }
}

/** A trained model that holds its loss, without it; undefined where the loss does not tell which value is the prediction. */
export function inferenceForm(trained: Model): Model | undefined {
  try {
    return rescuedInference(trained);
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

/** The class of every sample. */
function labelsOf(dataset: Dataset, elements: number): Int32Array {
  const labels = new Int32Array(dataset.size);
  const all = Array.from({ length: dataset.size }, (_, index) => index);
  dataset.fill(all, new Float32Array(elements), labels);
  return labels;
}

import { arrayDataset, type Dataset, loadMnist } from "../../src/index.ts";
import { labels, uniform } from "./lcg.ts";

/** Numbers and labels for a sample model, in a form that can be sent to a page. */
export interface SampleData {
  readonly x: number[];
  readonly y: number[];
  readonly shape: readonly number[];
}

/**
 * Data for a sample model: real digits for images, random points for PointNet. Noise instead of digits would not do: on
 * noise, Adam turns rounding errors into steps, even between two CPU runs with permuted rows.
 */
export async function sampleData(name: "mlp" | "cnn" | "pointnet", samples: number): Promise<SampleData> {
  if (name === "pointnet") {
    const x = [...uniform("sample.pointnet", samples * 3 * 128)];
    return { x, y: labels("sample.pointnet", samples, 10), shape: [3, 128] };
  }
  const { train } = await loadMnist();
  const [x, y] = [new Float32Array(samples * 784), new Int32Array(samples)];
  train.fill(Array.from(y.keys()), x, y);
  return { x: [...x], y: [...y], shape: [1, 28, 28] };
}

export const asDataset = ({ x, y, shape }: SampleData): Dataset =>
  arrayDataset(Float32Array.from(x), Int32Array.from(y), shape);

import { arrayDataset, type Dataset, loadMnist } from "../../src/index.ts";
import { labels, uniform } from "./lcg.ts";

/** Numbers and labels of a sample model's data: what a page can be sent. */
export interface SampleData {
  readonly x: number[];
  readonly y: number[];
  readonly shape: readonly number[];
}

/**
 * Data of a sample model: real digits for images (on noise, Adam turns rounding errors into steps, CPU against CPU with
 * rows permuted as well), drawn points for PointNet.
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

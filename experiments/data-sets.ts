import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { shuffledIndices } from "../src/data/batches.ts";
import { type Dataset, digitPoints, loadMnist, type SplitData, subset } from "../src/index.ts";

/** The data sets: images of digits, images of clothes, and the digits as 128 points each. */
export type DataName = "mnist" | "fashion" | "points";

/** Samples of one run. */
export interface RunData {
  readonly train: Dataset;
  /** Other training samples, used to choose the weights of penalties. */
  readonly validation: Dataset;
  /** The published test set, which influences no choice. */
  readonly test: Dataset;
}

/** Mean and standard deviation of the pixels of Fashion-MNIST's training images. */
const fashionPixels = { mean: 0.286, std: 0.353 };

/** The folder into which {@link fetchFashion} unpacks Fashion-MNIST's four files; `SORTH_FASHION_MNIST` overrides it. */
const cache = fileURLToPath(new URL("../.cache/fashion-mnist", import.meta.url));
const installed = "usr/share/datasets/fashion-mnist";
const fashionFolder = (): string => process.env.SORTH_FASHION_MNIST ?? join(cache, installed);

/**
 * Makes sure that Fashion-MNIST is available: unpacks Debian's package dataset-fashion-mnist into .cache (31 MB), without
 * installing it.
 * @throws Error that names another way to provide the files
 */
export function fetchFashion(): void {
  if (existsSync(join(fashionFolder(), "train-images-idx3-ubyte.gz"))) return;
  mkdirSync(cache, { recursive: true });
  try {
    execFileSync("apt-get", ["download", "-qq", "dataset-fashion-mnist"], { cwd: cache, stdio: "ignore" });
    const file = readdirSync(cache).find((name) => name.endsWith(".deb"));
    execFileSync("dpkg-deb", ["--extract", join(cache, file ?? ""), cache]);
  } catch (error) {
    throw new Error(
      `Fashion-MNIST is not here, and Debian's package dataset-fashion-mnist could not be fetched (${error instanceof Error ? error.message : error}); set SORTH_FASHION_MNIST to a folder with its four files`,
    );
  }
}

const loaded = new Map<DataName, Promise<SplitData>>();

/**
 * The samples of a run: randomly drawn training samples for training and validation, and the test set. A seed draws the
 * same samples for every variant, so that variants can be compared seed by seed.
 */
export async function dataOf(
  name: DataName,
  { seed, samples, validation, test }: { seed: number; samples: number; validation: number; test: number },
): Promise<RunData> {
  const images = name === "fashion" ? "fashion" : "mnist";
  if (!loaded.has(images)) loaded.set(images, load(images));
  const all = await (loaded.get(images) as Promise<SplitData>);
  const order = shuffledIndices(seed, 0, all.train.size);
  const parts = {
    train: subset(all.train, order.slice(0, samples)),
    validation: subset(all.train, order.slice(samples, samples + validation)),
    test: subset(
      all.test as Dataset,
      Uint32Array.from({ length: test }, (_, i) => i),
    ),
  };
  if (name !== "points") return parts;
  return {
    train: digitPoints(parts.train),
    validation: digitPoints(parts.validation),
    test: digitPoints(parts.test),
  };
}

const load = (name: "mnist" | "fashion"): Promise<SplitData> =>
  name === "mnist" ? loadMnist() : loadMnist({ folder: fashionFolder(), pixels: fashionPixels });

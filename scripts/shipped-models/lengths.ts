import { fedInputs } from "../../src/analysis/dimensions.ts";
import type { Graph } from "../../src/graph/graph.ts";

/** Sizes for a model's free dimensions, as flags of the command line. */
export interface Lengths {
  readonly batch: number | undefined;
  readonly dims: Readonly<Record<string, number>>;
}

/** Batch sizes to try, if the file leaves the batch free: some models take one sample only. */
const batches = [4, 1] as const;
/** Heights and widths of images to try: detectors with TopK need larger ones. */
const images = [64, 320] as const;
/** Number of samples of a sound, and length of anything else. */
const [sound, length] = [16_000, 16];

/**
 * Sizes that a user might choose, the first choice first: four samples, images of 64 × 64, a second of sound, sequences of 16,
 * an empty cache. The others are tried if ONNX Runtime does not run the model at the first.
 */
export function choicesOfLengths(graph: Graph): Lengths[] {
  const choices = images.flatMap((image) => batches.map((batch) => lengthsFor(graph, batch, image)));
  const known = choices.map((choice) => JSON.stringify(choice));
  return choices.filter((_, i) => known.indexOf(known[i] ?? "") === i);
}

/** Whether verify has to be given this batch because it would choose another. */
export const isUnusualBatch = ({ batch }: Lengths): boolean => batch !== undefined && batch !== batches[0];

function lengthsFor(graph: Graph, batch: number, image: number): Lengths {
  const dims: Record<string, number> = {};
  let freeBatch = false;
  for (const { declared } of fedInputs(graph)) {
    for (const [axis, size] of (declared ?? []).entries()) {
      if (typeof size === "number") continue;
      if (axis === 0) freeBatch = true;
      else if (size) dims[size] = sizeOf(size, declared?.length === 4 && axis > 1 ? image : undefined);
    }
  }
  return { batch: freeBatch ? batch : undefined, dims };
}

function sizeOf(name: string, ofImage: number | undefined): number {
  if (/past/.test(name)) return 0;
  if (ofImage !== undefined) return ofImage;
  return /samples|audio|wav/.test(name) ? sound : length;
}

/** The flags for a command that has `--batch` and `--dim`. */
export function lengthFlags({ batch: size, dims }: Lengths): string[] {
  return [
    ...(size === undefined ? [] : ["--batch", String(size)]),
    ...Object.entries(dims).flatMap(([name, value]) => ["--dim", `${name}=${value}`]),
  ];
}

import { fedInputs } from "../../src/analysis/dimensions.ts";
import type { Graph } from "../../src/graph/graph.ts";

/** Sizes for a model's free dimensions, as flags of the command line. */
export interface Lengths {
  readonly batch: number | undefined;
  readonly dims: Readonly<Record<string, number>>;
}

/** Batch size, if the file leaves it free. */
const batch = 4;
/** Height and width of images, number of samples of a sound, and length of anything else. */
const [image, sound, length] = [64, 16_000, 16];

/** Sizes that a user might choose: four samples, images of 64 × 64, a second of sound, sequences of 16, an empty cache. */
export function lengthsFor(graph: Graph): Lengths {
  const dims: Record<string, number> = {};
  let freeBatch = false;
  for (const { declared } of fedInputs(graph)) {
    for (const [axis, size] of (declared ?? []).entries()) {
      if (typeof size === "number") continue;
      if (axis === 0) freeBatch = true;
      else if (size) dims[size] = sizeOf(size, declared?.length === 4 && axis > 1);
    }
  }
  return { batch: freeBatch ? batch : undefined, dims };
}

function sizeOf(name: string, ofImage: boolean): number {
  if (/past/.test(name)) return 0;
  if (ofImage) return image;
  return /samples|audio|wav/.test(name) ? sound : length;
}

/** The flags for a command that has `--batch` and `--dim`. */
export function lengthFlags({ batch: size, dims }: Lengths): string[] {
  return [
    ...(size === undefined ? [] : ["--batch", String(size)]),
    ...Object.entries(dims).flatMap(([name, value]) => ["--dim", `${name}=${value}`]),
  ];
}

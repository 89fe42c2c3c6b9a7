import { fedInputs } from "../../src/analysis/dimensions.ts";
import type { Graph } from "../../src/graph/graph.ts";

/** Sizes for the dimensions that a model leaves free, as flags of the command line. */
export interface Lengths {
  readonly batch: number | undefined;
  readonly dims: Readonly<Record<string, number>>;
}

/** Samples of a batch where the file leaves that free. */
const batch = 4;
/** Height and width of images, and the length of anything else. */
const [image, length] = [64, 16];

/** What a person would choose: four samples, images of 64 × 64, sequences of 16, an empty past of a cache. */
export function lengthsFor(graph: Graph): Lengths {
  const dims: Record<string, number> = {};
  let freeBatch = false;
  for (const { declared } of fedInputs(graph)) {
    for (const [axis, size] of (declared ?? []).entries()) {
      if (typeof size === "number") continue;
      if (axis === 0) freeBatch = true;
      else if (size) dims[size] = /past/.test(size) ? 0 : declared?.length === 4 && axis > 1 ? image : length;
    }
  }
  return { batch: freeBatch ? batch : undefined, dims };
}

/** The flags of a command that knows `--batch` and `--dim`. */
export function lengthFlags({ batch: size, dims }: Lengths): string[] {
  return [
    ...(size === undefined ? [] : ["--batch", String(size)]),
    ...Object.entries(dims).flatMap(([name, value]) => ["--dim", `${name}=${value}`]),
  ];
}

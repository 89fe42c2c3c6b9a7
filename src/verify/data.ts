import { fedInputs, hasFreeBatch, resolveInputs } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import type { Probe } from "../analysis/probe.ts";
import { findSites } from "../analysis/sites.ts";
import type { Block } from "../block/block.ts";
import type { MarkedObjective } from "../block/mark.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { dimAt } from "../graph/shapes.ts";
import { objectiveNamed, objectiveNames } from "../losses/table.ts";
import { Random } from "../onnx/random-tensors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { VerifyOptions } from "./options.ts";

/** Batch size where the model leaves it open: small, so that the float64 reference stays quick. */
const defaultBatch = 4;
/** The same where responses are large. */
const smallBatch = 2;
/** Numbers of all responses of {@link defaultBatch} samples above which {@link smallBatch} is enough. */
const manyNumbers = 2 ** 21;

/** What a model is run on: the data given, random numbers for the rest; and the same at another batch size. */
export interface VerifyData {
  readonly feeds: ReadonlyMap<string, Tensor>;
  /** Samples in a batch, as far as the model says. */
  readonly samples: number;
  /** Where the batch is free and no data was given. */
  readonly other: { readonly feeds: ReadonlyMap<string, Tensor>; readonly batch: number } | undefined;
}

/** Infers the original's shapes at the batch it is run with, and makes the data. */
export async function dataFor(
  own: Graph,
  block: Block,
  options: VerifyOptions,
  probe: Probe,
): Promise<VerifyData> {
  const given = options.feeds ?? new Map<string, Tensor>();
  const names = new Set([...own.inputs.map(({ name }) => name), block.mark.objective?.labels]);
  for (const name of given.keys()) {
    if (!names.has(name))
      throw new UsageError(`data was given for "${name}", which is no input of the model`);
  }
  const dims = { ...options.dims };
  for (const { name, declared } of fedInputs(own)) {
    given.get(name)?.dims.forEach((dim, axis) => {
      if (axis > 0 && typeof declared?.[axis] !== "number") dims[`${name}.${axis}`] = dim;
    });
  }
  const free = hasFreeBatch(own, { dims });
  const first = fedInputs(own).find(({ name }) => given.has(name));
  const chosenBatch = options.batch ?? given.get(first?.name ?? "")?.dims[0];
  const make = async (size: number): Promise<Map<string, Tensor>> => {
    const chosen = { dims, ...(free || options.batch !== undefined ? { batch: size } : {}) };
    await inferShapes(own, probe, chosen);
    const random = new Random("inputs of verify", options.seed ?? 1);
    const feeds = new Map(given);
    for (const [{ name, type }, shape] of resolveInputs(own, chosen)) {
      if (type && !feeds.has(name)) feeds.set(name, random.tensor(name, type, shape));
    }
    const labels = block.mark.objective && randomLabels(own, block.mark.objective, random);
    if (labels && !feeds.has(labels.name)) feeds.set(labels.name, labels);
    return feeds;
  };
  const batch = chosenBatch ?? (free ? await enough(own, probe, dims) : defaultBatch);
  const other = free && given.size === 0 ? { feeds: await make(batch + 1), batch: batch + 1 } : undefined;
  const feeds = await make(batch);
  return { other, feeds, samples: free || options.batch !== undefined ? batch : 1 };
}

/** A batch for which responses are not too large. */
async function enough(own: Graph, probe: Probe, dims: Readonly<Record<string, number>>): Promise<number> {
  await inferShapes(own, probe, { dims, batch: defaultBatch });
  const numbers = findSites(own).sites.reduce((sum, { units, rows }) => sum + units * rows, 0);
  return numbers > manyNumbers ? smallBatch : defaultBatch;
}

/** Labels for the block's objective: numbers of classes, else numbers in the place of each score. */
function randomLabels(
  own: Graph,
  { name, options, prediction, labels }: MarkedObjective,
  random: Random,
): Tensor | undefined {
  const { shape, type } = own.value(prediction) ?? {};
  const { injected, classAxis = () => 1 } = objectiveNames.includes(name)
    ? objectiveNamed(name, options)
    : {};
  if (!shape || !type || !injected) return undefined;
  const dims = injected.axes(shape).map((axis) => dimAt(shape, axis));
  return injected.labels === "int64"
    ? random.tensor(labels, "int64", dims, dimAt(shape, classAxis(shape)))
    : random.tensor(labels, type === "double" ? "double" : "float", dims);
}

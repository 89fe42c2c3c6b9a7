import { withEmptyCache } from "../analysis/cache-inputs.ts";
import { declaredBatchAxis, fedInputs, hasFreeBatch, resolveInputs } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import type { Probe } from "../analysis/probe.ts";
import { findSites } from "../analysis/sites.ts";
import type { Block } from "../block/block.ts";
import type { MarkedObjective } from "../block/mark.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { dimAt } from "../graph/shapes.ts";
import { objectiveNamed, objectiveNames } from "../losses/table.ts";
import { randomTensor, tensorOf } from "../onnx/random-tensors.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";
import { Random } from "../random.ts";
import type { VerifyOptions } from "./options.ts";

/** Batch size if the model leaves it open; small, to keep the float64 reference fast. */
const defaultBatch = 4;
/** The same for models with large responses. */
const smallBatch = 2;
/** If all responses of {@link defaultBatch} samples have more numbers than this, {@link smallBatch} is used. */
const manyNumbers = 2 ** 21;

/** The data that a model is run on: the caller's, and random numbers for the other inputs. */
interface VerifyData {
  readonly feeds: ReadonlyMap<string, Tensor>;
  /** Samples in a batch, as far as the model declares it. */
  readonly samples: number;
  /** Random data with another batch size, if the batch is free and the caller gave no data. */
  readonly other: { readonly feeds: ReadonlyMap<string, Tensor>; readonly batch: number } | undefined;
}

/** Infers the original's shapes with the batch of the run, and makes the data. */
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
  for (const input of fedInputs(own)) {
    const { name, declared } = input;
    given.get(name)?.dims.forEach((dim, axis) => {
      const isOpen = typeof declared?.[axis] !== "number";
      if (axis !== declaredBatchAxis(input) && isOpen) dims[`${name}.${axis}`] = dim;
    });
  }
  const free = hasFreeBatch(own, { dims });
  const first = fedInputs(own).find(({ name }) => given.has(name));
  // The samples that were given, of which there may be fewer than were asked for, or more rows than samples.
  const rows = first && given.get(first.name)?.dims[declaredBatchAxis(first)];
  const chosenBatch = rows ?? options.batch;
  const make = async (size: number): Promise<Map<string, Tensor>> => {
    const sizes = { dims, ...(free || options.batch !== undefined ? { batch: size } : {}) };
    const chosen = withEmptyCache(own, sizes);
    await inferShapes(own, probe, chosen);
    const random = new Random("inputs of verify", options.seed ?? 1);
    const feeds = new Map(given);
    for (const [{ name, type }, shape] of resolveInputs(own, chosen)) {
      if (!type || feeds.has(name)) continue;
      const tensor = randomTensor(random, name, type, shape);
      feeds.set(name, name === "attention_mask" ? filled(tensor) : tensor);
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

/** A mask that hides no token: some attentions refuse samples with fewer tokens than places. */
function filled({ name, type, dims }: Tensor): Tensor {
  return tensorOf(name, type, dims, new Array<number>(elementCount(dims)).fill(1));
}

/** A batch size with which responses are not too large. */
async function enough(own: Graph, probe: Probe, dims: Readonly<Record<string, number>>): Promise<number> {
  await inferShapes(own, probe, { dims, batch: defaultBatch });
  const numbers = findSites(own).sites.reduce((sum, { units, rows }) => sum + units * rows, 0);
  return numbers > manyNumbers ? smallBatch : defaultBatch;
}

/** Random labels for the block's objective: class indices, or a number for each score. */
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
    ? randomTensor(random, labels, "int64", dims, dimAt(shape, classAxis(shape)))
    : randomTensor(random, labels, type === "double" ? "double" : "float", dims);
}

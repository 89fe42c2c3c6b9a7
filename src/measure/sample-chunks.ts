import { batchAxisOf, type DimensionOptions, fedInputs } from "../analysis/dimensions.ts";
import { checkFields } from "../check-arguments.ts";
import { DataError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { DeclaredDim, Value } from "../graph/node.ts";
import { shapeText } from "../graph/shapes.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";

/** Data for a model's inputs by name, samples on the first axis. */
export type Feeds = Readonly<Record<string, Tensor>> | ReadonlyMap<string, Tensor>;

/** Data for a model's inputs, cut into chunks that fit its batch. */
interface SampleChunks {
  /** Feeds of each chunk. */
  readonly chunks: readonly ReadonlyMap<string, Tensor>[];
  /** Number of samples in them. */
  readonly samples: number;
  /** The sizes of the model's free dimensions; a free batch axis has the size `total`. */
  readonly dimensions: DimensionOptions;
}

/**
 * Cuts data for a model's inputs along their batch axis (the first one, unless the file says otherwise). For a model with a
 * fixed batch, every chunk has exactly that size, and samples after the last whole chunk are left out.
 *
 * @param batch - samples in a chunk, if the model leaves its batch open
 * @param most - samples in all chunks; a model with a fixed batch gets at least one batch
 * @throws SorthError when an input has no data, or data of another type or shape.
 */
export function sampleChunks(
  graph: Graph,
  feeds: Feeds,
  batch: number,
  most = Number.POSITIVE_INFINITY,
): SampleChunks {
  const made = "data are a Map of tensors by input, as sampleFeeds gives";
  checkFields(made, feeds);
  if ("fill" in feeds && typeof feeds.fill === "function") {
    throw new UsageError(`${made}, not a dataset: write await sampleFeeds(model, dataset, 512)`);
  }
  const data: ReadonlyMap<string, Tensor> = feeds instanceof Map ? feeds : new Map(Object.entries(feeds));
  const inputs = fedInputs(graph);
  const stranger = [...data.keys()].find((name) => !inputs.some((input) => input.name === name));
  if (stranger !== undefined) {
    const names = inputs.map((input) => input.name).join(", ");
    throw new DataError(`the model has no input "${stranger}" to feed; it has ${names}`);
  }
  const rows = graph.outputs[0]?.declared?.[0];
  const fed = inputs.map((input) => fedWith(input, data, rows));
  const free = fed.filter(
    ({ input, axis }) => input.declared?.length && typeof input.declared[axis] !== "number",
  );
  const sampled = new Set(free.length > 0 ? free : fed.filter(({ tensor }) => tensor.dims.length > 0));
  const [first] = sampled;
  const given = first?.tensor.dims[first.axis] ?? 1;
  for (const { input, tensor, axis } of sampled) {
    if (tensor.dims[axis] === given) continue;
    throw new DataError(
      `input "${input.name}" was given ${tensor.dims[axis]} samples, but "${first?.input.name}" ${given}`,
    );
  }
  const fixed = first?.input.declared?.[first.axis];
  const isFixed = typeof fixed === "number";
  const size = isFixed ? fixed : Math.min(batch, given);
  const taken = Math.min(given, isFixed ? Math.max(most, size) : most);
  const total = isFixed ? taken - (taken % size) : taken;
  if (total === 0) {
    throw new DataError(`the model fixes its batch at ${size} samples, but only ${given} were given`);
  }
  const chunks: Map<string, Tensor>[] = [];
  for (let start = 0; start < total; start += size) {
    const end = Math.min(start + size, total);
    chunks.push(
      new Map(
        fed.map((feed) => [
          feed.input.name,
          sampled.has(feed) ? rowsOf(feed.tensor, start, end, feed.axis) : feed.tensor,
        ]),
      ),
    );
  }
  const dims = Object.fromEntries(
    fed.flatMap(({ input, tensor, axis: batchAxis }) =>
      tensor.dims.flatMap((dim, axis) => {
        const known = typeof input.declared?.[axis] === "number";
        const counts = axis === batchAxis && input.declared;
        return known || counts ? [] : [[`${input.name}.${axis}`, dim] as const];
      }),
    ),
  );
  return { chunks, samples: total, dimensions: { dims, ...(free.length > 0 && { batch: total }) } };
}

interface Fed {
  readonly input: Value;
  readonly tensor: Tensor;
  /** Which axis counts the samples. */
  readonly axis: number;
}

/** The data of one input. */
function fedWith(input: Value, data: ReadonlyMap<string, Tensor>, rows: DeclaredDim): Fed {
  const tensor = data.get(input.name);
  if (!tensor) throw new DataError(`input "${input.name}" of the model was given no data`);
  const { declared, type } = input;
  const lengths = declared?.map((dim) => (typeof dim === "number" ? dim : 0)) ?? [];
  const axis = batchAxisOf(input, lengths, typeof rows === "number" ? rows : undefined);
  const fits =
    !declared ||
    (declared.length === tensor.dims.length &&
      declared.every((dim, at) => at === axis || typeof dim !== "number" || dim === tensor.dims[at]));
  if (!fits || tensor.type !== type) {
    const wanted = declared ? `[${declared.map((dim) => dim ?? "?").join(", ")}]` : "any shape";
    throw new DataError(
      `input "${input.name}" of the model takes ${type} ${wanted}, but was given ${tensor.type} ${shapeText(tensor.dims)}`,
    );
  }
  return { input, tensor, axis };
}

/** Samples start … end − 1 of a tensor; a view if they are on the first axis. */
function rowsOf(tensor: Tensor, start: number, end: number, axis: number): Tensor {
  const { name, type, dims, data } = tensor;
  const width = elementCount(dims.slice(axis + 1));
  const [count, outer] = [dims[axis] ?? 1, elementCount(dims.slice(0, axis))];
  const part = (o: number) => [(o * count + start) * width, (o * count + end) * width] as const;
  const numbers = data as Float32Array;
  if (outer === 1) {
    const rows = Array.isArray(data) ? data.slice(...part(0)) : numbers.subarray(...part(0));
    return Tensor.of(name, type, dims.with(axis, end - start), rows);
  }
  const rows = numbers.slice(0, outer * (end - start) * width);
  for (let o = 0; o < outer; o++) rows.set(numbers.subarray(...part(o)), o * (end - start) * width);
  return Tensor.of(name, type, dims.with(axis, end - start), rows);
}

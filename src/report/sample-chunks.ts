import { type DimensionOptions, fedInputs } from "../analysis/dimensions.ts";
import { SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { shapeText } from "../graph/shapes.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";

/** Data for a model's inputs by name, samples on the first axis. */
export type Feeds = Readonly<Record<string, Tensor>> | ReadonlyMap<string, Tensor>;

/** Data for a model's inputs, cut into runs that fit its batch. */
export interface SampleChunks {
  /** Feeds of each run. */
  readonly chunks: readonly ReadonlyMap<string, Tensor>[];
  /** Samples in all chunks together. */
  readonly total: number;
  /** The sizes of the model's free dimensions; the batch, where free, is `total`. */
  readonly dimensions: DimensionOptions;
}

/**
 * Cuts data for a model's inputs along their batch axis, the first one where the file leaves it open. A model that fixes
 * its batch gets runs of just that size, and samples behind the last whole run are left out.
 *
 * @param batch - samples in a run, where the model leaves that open
 * @throws SorthError when an input has no data, or data of another type or shape.
 */
export function sampleChunks(graph: Graph, feeds: Feeds, batch: number): SampleChunks {
  const data: ReadonlyMap<string, Tensor> = feeds instanceof Map ? feeds : new Map(Object.entries(feeds));
  const inputs = fedInputs(graph);
  const stranger = [...data.keys()].find((name) => !inputs.some((input) => input.name === name));
  if (stranger !== undefined) {
    const names = inputs.map((input) => input.name).join(", ");
    throw new SorthError(`the model has no input "${stranger}" to feed; it has ${names}`);
  }
  const fed = inputs.map((input) => ({ input, tensor: feedOf(input, data) }));
  const free = fed.filter(({ input }) => input.declared?.length && typeof input.declared[0] !== "number");
  const sampled = new Set(free.length > 0 ? free : fed.filter(({ tensor }) => tensor.dims.length > 0));
  const [first] = sampled;
  const given = first?.tensor.dims[0] ?? 1;
  for (const { input, tensor } of sampled) {
    if (tensor.dims[0] === given) continue;
    throw new SorthError(
      `input "${input.name}" was given ${tensor.dims[0]} samples, but "${first?.input.name}" ${given}`,
    );
  }
  const fixed = first?.input.declared?.[0];
  const size = typeof fixed === "number" ? fixed : Math.min(batch, given);
  const total = typeof fixed === "number" ? given - (given % size) : given;
  if (total === 0) {
    throw new SorthError(`the model fixes its batch at ${size} samples, but only ${given} were given`);
  }
  const chunks: Map<string, Tensor>[] = [];
  for (let start = 0; start < total; start += size) {
    const end = Math.min(start + size, total);
    chunks.push(
      new Map(
        fed.map((feed) => [
          feed.input.name,
          sampled.has(feed) ? rowsOf(feed.tensor, start, end) : feed.tensor,
        ]),
      ),
    );
  }
  const dims = Object.fromEntries(
    fed.flatMap(({ input, tensor }) =>
      tensor.dims.flatMap((dim, axis) => {
        const known = typeof input.declared?.[axis] === "number";
        return known || (axis === 0 && input.declared) ? [] : [[`${input.name}.${axis}`, dim] as const];
      }),
    ),
  );
  return { chunks, total, dimensions: { dims, ...(free.length > 0 && { batch: total }) } };
}

/** The data of one input. */
function feedOf(input: Value, data: ReadonlyMap<string, Tensor>): Tensor {
  const tensor = data.get(input.name);
  if (!tensor) throw new SorthError(`input "${input.name}" of the model was given no data`);
  const { declared, type } = input;
  const fits =
    !declared ||
    (declared.length === tensor.dims.length &&
      declared.every((dim, axis) => axis === 0 || typeof dim !== "number" || dim === tensor.dims[axis]));
  if (!fits || tensor.type !== type) {
    const wanted = declared ? `[${declared.map((dim) => dim ?? "?").join(", ")}]` : "any shape";
    throw new SorthError(
      `input "${input.name}" of the model takes ${type} ${wanted}, but was given ${tensor.type} ${shapeText(tensor.dims)}`,
    );
  }
  return tensor;
}

/** Rows start … end − 1 of a tensor, a view. */
function rowsOf(tensor: Tensor, start: number, end: number): Tensor {
  const { name, type, dims, data } = tensor;
  const width = elementCount(dims.slice(1));
  const rows = Array.isArray(data)
    ? data.slice(start * width, end * width)
    : (data as Float32Array).subarray(start * width, end * width);
  return Tensor.of(name, type, [end - start, ...dims.slice(1)], rows);
}

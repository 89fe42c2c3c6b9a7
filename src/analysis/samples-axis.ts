import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { DeclaredDim, Value } from "../graph/node.ts";
import type { Model } from "../onnx/model.ts";
import {
  type DimensionOptions,
  declaredBatchAxis,
  fedInputs,
  hasFreeBatch,
  missingDimensions,
} from "./dimensions.ts";
import { inferShapes } from "./infer.ts";
import type { Probe } from "./probe.ts";

/** Shapes of a graph with a number of samples, and with another one. */
export interface SampleCounts {
  readonly batch: number;
  /** The same graph with the shapes of one sample more, if that was asked for. */
  readonly other?: Graph | undefined;
}

/**
 * The axis of a value that counts the samples, where that can be proved: the one with the name that the samples have in an input
 * (scores `[time, "batch", classes]` of a recurrent network), the only one that grows with the batch where nothing else is free, the
 * only free one whose length is a multiple of the batch, or the only one that differs with another batch.
 * @returns undefined where nothing is proved: the first axis counts them, as everywhere
 * @param graph - with inferred shapes, if the names do not tell
 */
export function samplesAxisOf(graph: Graph, value: Value, counts?: SampleCounts): number | undefined {
  const names = new Set(
    fedInputs(graph).flatMap((input) => {
      const dim = input.declared?.[declaredBatchAxis(input)];
      return typeof dim === "string" ? [dim] : [];
    }),
  );
  const { freeAxes = [], shape = [] } = value;
  const named = (declaredOf(value) ?? []).flatMap((dim, axis) =>
    typeof dim === "string" && names.has(dim) ? [axis] : [],
  );
  if (named[0] !== undefined) return named.length === 1 ? named[0] : 0;
  const isOnly = hasFreeBatch(graph) && missingDimensions(graph).length === 0;
  if (isOnly && freeAxes.length === 1) return freeAxes[0];
  if (!counts) return undefined;
  const { batch, other } = counts;
  const fitting = freeAxes.filter((axis) => (shape[axis] ?? 0) % batch === 0);
  if (fitting.length < 2 || !other) return fitting.length === 1 ? fitting[0] : undefined;
  const another = other.value(value.name)?.shape;
  const moved =
    another?.length === shape.length ? shape.flatMap((dim, at) => (dim === another[at] ? [] : [at])) : [];
  return moved.length === 1 ? moved[0] : undefined;
}

/** Whether an input of a model counts its samples on another axis than the first. */
export const hasTimeFirst = (graph: Graph): boolean =>
  fedInputs(graph).some((input) => declaredBatchAxis(input) > 0);

/** A model's graph with the shapes of these sizes; undefined for a model that does not load with them. */
export async function withShapes(
  model: Model,
  probe: Probe,
  sizes: DimensionOptions,
): Promise<Graph | undefined> {
  const graph = graphOf(model);
  try {
    await inferShapes(graph, probe, { ...sizes, open: true });
    return graph;
  } catch {
    return undefined;
  }
}

/**
 * The value [time, samples, …] from which one of rows was made that follow each other time by time, [time · samples, …]: labels of
 * samples, which follow each other sample by sample, do not belong to them. Undefined for rows of samples.
 * @param graph - with inferred shapes
 */
export function beforeRows(graph: Graph, value: Value, counts: SampleCounts): Value | undefined {
  const { batch } = counts;
  const rows = value.shape?.[0] ?? 0;
  if (rows <= batch || rows % batch !== 0) return undefined;
  for (let at: Value | undefined = value; at?.producer; at = at.producer.inputs[0] ?? undefined) {
    const source: Value | null | undefined = at.producer.inputs[0];
    if (at.producer.op === "Reshape") {
      return source && samplesAxisOf(graph, source, counts) === 1 ? source : undefined;
    }
    // Operators that compute each row by itself keep their order.
    if (source?.shape?.[0] !== rows || source.shape.length !== 2) return undefined;
  }
  return undefined;
}

/** Operators that keep the axes of their input. */
const keeping = new Set(["Softmax", "LogSoftmax", "Sigmoid", "Identity", "Cast"]);

/** The axes that the file declares of a value, or of what an activation makes of it. */
function declaredOf(value: Value): readonly DeclaredDim[] | undefined {
  if (value.declared) return value.declared;
  for (const { node } of value.uses) {
    const [result] = keeping.has(node.op) ? node.outputs : [];
    if (result?.declared) return result.declared;
  }
  return undefined;
}

/** The order of axes in which a value has its samples first. */
export const samplesFirstOrder = (rank: number, axis: number): number[] => [
  axis,
  ...Array.from({ length: rank }, (_, at) => at).filter((at) => at !== axis),
];

import type { Probe } from "../analysis/probe.ts";
import {
  beforeRows,
  hasTimeFirst,
  type SampleCounts,
  samplesAxisOf,
  samplesFirstOrder,
  withShapes,
} from "../analysis/samples-axis.ts";
import { SorthError } from "../errors.ts";
import { given } from "../given.ts";
import { typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { shapeText } from "../graph/shapes.ts";
import { isMadeHere } from "../made-here.ts";
import type { Model } from "../onnx/model.ts";
import type { LossOptions } from "./options.ts";
import type { PreparedGraph } from "./prepared-graph.ts";

/** The error for rows that follow each other time by time, with the value to read instead. */
function rowsByTime(value: Value, source: Value): SorthError {
  const text = (one: Value) => `"${one.name}" ${shapeText(one.shape ?? [])}`;
  const isScores = source.shape?.at(-1) === value.shape?.at(-1);
  const help = isScores
    ? `read the value in front of that, --prediction ${/[^\w./-]/.test(source.name) ? `'${source.name}'` : source.name}`
    : "export the model with scores [time, samples, classes]";
  return new SorthError(
    `${text(value)} holds rows time by time, made of ${text(source)}, and labels come sample by sample: ${help}`,
  );
}

/** The error for scores of which it is not known which axis counts the samples. */
function unknownSamples(value: Value, batch: number): SorthError {
  return new SorthError(
    `"${value.name}" ${shapeText(value.shape ?? [])}: nothing says which axis counts the ${batch} samples: name its axes in the file as those of the inputs (dynamic_axes of torch.onnx.export), or choose a batch of which no other length is a multiple (--batch)`,
  );
}

/**
 * The axis of a value that counts the samples, if another than the first is proved to.
 * @param graph - with inferred shapes
 * @throws SorthError for rows that follow each other time by time, and where nothing says which axis it is though time comes first
 */
export function axisOfSamples(graph: Graph, value: Value, counts: SampleCounts): number | undefined {
  const source = beforeRows(graph, value, counts);
  if (source) throw rowsByTime(value, source);
  const axis = samplesAxisOf(graph, value, counts);
  if (axis === undefined && (value.shape?.length ?? 0) > 2 && hasTimeFirst(graph))
    throw unknownSamples(value, counts.batch);
  return axis === 0 ? undefined : axis;
}

/**
 * Turns the scores that a loss reads so that their first axis counts the samples, as that of labels does: [time, samples, classes]
 * becomes [samples, time, classes]. A loss of the user's own reads them as they are.
 */
export async function samplesFirst(
  model: Model,
  { graph, emit, batch }: Pick<PreparedGraph, "graph" | "emit"> & { readonly batch: number },
  { probe, ...options }: LossOptions & { readonly probe: Probe },
): Promise<NonNullable<PreparedGraph["samplesFirst"]>> {
  const turned = new Map<Value, Value>();
  const { dims, output, onMessage } = options;
  const read = [...graph.outputs, ...[output ?? []].flat().flatMap((name) => graph.value(name) ?? [])];
  const isOpen = (value: Value) =>
    (value.shape?.length ?? 0) > 1 && samplesAxisOf(graph, value, { batch }) === undefined;
  const other = read.some(isOpen)
    ? await withShapes(model, probe, { batch: batch + 1, ...given({ dims }) })
    : undefined;
  const counts = { batch, other };
  return (objective, value) => {
    const { shape } = value;
    if (!shape || !isMadeHere(objective)) return value;
    const axis = axisOfSamples(graph, value, counts);
    if (axis === undefined) return value;
    const known = turned.get(value);
    if (known) return known;
    const made = emit.transpose(typed(value), samplesFirstOrder(shape.length, axis));
    onMessage?.(
      `"${value.name}" ${shapeText(shape)} counts its samples on axis ${axis}: the loss reads it as ${shapeText(made.shape)}`,
    );
    turned.set(value, made);
    return made;
  };
}

import { type DimensionOptions, hasFreeBatch } from "../analysis/dimensions.ts";
import type { Probe } from "../analysis/probe.ts";
import { hasTimeFirst, samplesAxisOf, samplesFirstOrder, withShapes } from "../analysis/samples-axis.ts";
import { given } from "../given.ts";
import { ints } from "../graph/attribute.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import type { Model } from "../onnx/model.ts";
import { axisOfSamples } from "../programs/samples-first.ts";

/**
 * Values of a graph with their samples on the first axis: scores [time, samples, classes] become [samples, time, classes], as they do
 * for the loss of a training.
 * @returns the outputs to read instead, which are outputs of the graph then
 */
export async function withSamplesFirst(
  graph: Graph,
  model: Model,
  values: readonly Value[],
  { batch, dims, probe }: DimensionOptions & { readonly batch: number; readonly probe: Probe },
): Promise<Value[]> {
  const byName = values.map((value) => samplesAxisOf(graph, value));
  // Where inputs have their samples first, so have outputs of two axes: most models need no further look.
  const timeFirst = hasTimeFirst(graph);
  const isOpen = ({ declared }: Value, i: number) =>
    byName[i] === undefined && (timeFirst || (declared?.length ?? 3) > 2);
  const sizes = { batch, ...given({ dims }) };
  const isLooked = hasFreeBatch(graph) && values.some(isOpen);
  const shaped = isLooked ? await withShapes(model, probe, sizes) : undefined;
  const known = values.map((value) => shaped?.value(value.name));
  const isUnproved = (value: Value | undefined) =>
    shaped && value && samplesAxisOf(shaped, value, { batch }) === undefined;
  const other = known.some(isUnproved)
    ? await withShapes(model, probe, { ...sizes, batch: batch + 1 })
    : undefined;
  return values.map((value, i) => {
    const inferred = known[i];
    const axis = shaped && inferred ? axisOfSamples(shaped, inferred, { batch, other }) : byName[i];
    const rank = value.declared?.length ?? inferred?.shape?.length ?? 0;
    return axis && rank > 0 ? turned(graph, value, samplesFirstOrder(rank, axis)) : value;
  });
}

/** A value with its axes in another order, an output in its place. */
function turned(graph: Graph, value: Value, order: readonly number[]): Value {
  const { outputs } = graph.addNode({
    ...{ opType: "Transpose", name: graph.freshName("step/samples_first"), inputs: [value] },
    outputs: [graph.freshName(`${value.name}/samples_first`)],
    attributes: new Map([["perm", ints(order)]]),
  });
  const made = outputs[0] as Value;
  made.type = value.type;
  made.declared = order.map((at) => value.declared?.[at]);
  graph.outputs.splice(graph.outputs.indexOf(value), 1, made);
  return made;
}

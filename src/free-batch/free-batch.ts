import Long from "long";
import { isInjected } from "../analysis/block-nodes.ts";
import { computeValues } from "../analysis/constant-values.ts";
import { declaredBatchAxis, fedInputs, hasFreeBatch, resolveInputs } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import type { Probe } from "../analysis/probe.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { listed, SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { decodeModelProto } from "../onnx/codec.ts";
import { Model } from "../onnx/model.ts";
import { onnx } from "../onnx/schema.js";
import { withoutDraws } from "../verify/draws.ts";
import { carryBatch, computedTargets } from "./carry-batch.ts";
import { comparedSamples, compareSamples, runsAlone, type SampleComparison } from "./compare-samples.ts";
import type { BatchAxis } from "./places.ts";

/** Options of `freeBatch`. */
export interface FreeBatchOptions {
  /** Lengths of other free dimensions, with which the samples are compared. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Receives a sentence on what was changed, and one on how it was checked. */
  readonly onMessage?: (message: string) => void;
}

const optionNames = {
  dims: "lengths",
  onMessage: "function",
} as const satisfies OptionNames<FreeBatchOptions>;

/** Frees the batch of a model that an exporter fixed at one sample. `HeadFunctions.freeBatch` documents it. */
export async function freeBatch(model: Model, options: FreeBatchOptions, probe: Probe): Promise<Model> {
  checkKnown("freeBatch", options, optionNames);
  const graph = graphOf(model);
  checkNoArtifact(graph);
  if (isInjected(graph))
    throw new SorthError("the model has an injected penalty: strip it first, free the batch, then inject");
  const sizes = options.dims ? { dims: options.dims } : {};
  if (hasFreeBatch(graph, sizes)) throw new SorthError("the batch of the model is free already");
  const inputs = batchAxes(graph);
  const shapesAt = (dims: FreeBatchOptions["dims"]) =>
    new Map([...resolveInputs(graph, dims ? { dims } : {})].map(([{ name }, shape]) => [name, shape]));
  const shapes = shapesAt(options.dims);
  await inferShapes(graph, probe, sizes);

  const proto = decodeModelProto(model.bytes);
  const targets = computedTargets(graph);
  const computed = targets.length > 0 ? await computeValues(graph, probe, targets) : new Map<string, never>();
  const free = fedInputs(graph).flatMap(({ declared = [] }) =>
    declared.filter((dim) => typeof dim !== "number"),
  );
  const lengthsAreFree = free.length > 0;
  const changed = carryBatch(proto, graph, inputs, { computed, lengthsAreFree });
  const models = { original: still(model), freed: still(Model.fromProto(proto, model)), graph };
  const compared = await compareSamples(models, { inputs, shapes }, probe);
  let also = "";
  for (const dims of lengthsAreFree ? otherLengths(options.dims ?? {}) : []) {
    const samples = { inputs, shapes: shapesAt(dims) };
    if (!(await runsAlone(models, samples, probe))) continue;
    await compareSamples(models, samples, probe);
    also = `, also at ${Object.entries(dims)
      .map(([name, length]) => `${name}=${length}`)
      .join(", ")}`;
    break;
  }
  declareOutputs(proto, graph, compared);
  const rewritten = changed.length > 0 ? `rewritten: ${listed(changed)}` : "no operator had to be rewritten";
  options.onMessage?.(
    `free: ${inputs.map(({ input, axis }) => `axis ${axis} of "${input.name}"`).join(", ")}; ${rewritten}`,
  );
  options.onMessage?.(
    `checked: ${comparedSamples} random samples at once give what each gives alone (largest relative difference ${compared.difference.toPrecision(2)})${also}`,
  );
  return Model.fromProto(proto, model).withApart(model.apart);
}

/** Other lengths of free dimensions: one more, or twice as many, which more models take. */
const otherLengths = (dims: Readonly<Record<string, number>>): Readonly<Record<string, number>>[] =>
  [(length: number) => length + 1, (length: number) => length * 2].map((other) =>
    Object.fromEntries(Object.entries(dims).map(([name, length]) => [name, other(length)])),
  );

/** The axes that count the one sample. @throws SorthError for a model whose batch is not fixed at 1 */
function batchAxes(graph: Graph): BatchAxis[] {
  const inputs = fedInputs(graph).flatMap((input): BatchAxis[] => {
    const { declared = [] } = input;
    if (declared[declaredBatchAxis(input)] === 1) return [{ input, axis: declaredBatchAxis(input) }];
    const axis = declared.indexOf(1);
    return axis < 0 ? [] : [{ input, axis }];
  });
  if (inputs.length > 0) return inputs;
  const found = fedInputs(graph).map(
    ({ name, declared = [] }) => `"${name}" [${declared.map((dim) => dim ?? "?").join(", ")}]`,
  );
  throw new SorthError(
    `no input of the model has an axis of length 1 that could count samples (${found.join(", ")}): only a batch that is fixed at 1 can be freed; export it with a free batch dimension`,
  );
}

/** The model as it computes each sample apart: without draws, and BatchNorm with its running statistics. */
function still(model: Model): Model {
  const proto = decodeModelProto(withoutDraws(model).model.bytes);
  for (const node of proto.graph?.node ?? []) {
    const mode =
      node.opType === "BatchNormalization" && node.attribute?.find(({ name }) => name === "training_mode");
    if (!mode) continue;
    mode.i = Long.ZERO;
    node.output = node.output?.slice(0, 1) ?? [];
  }
  return Model.fromProto(proto, model);
}

/** Declares the shapes of the outputs, with the batch open. */
function declareOutputs(proto: onnx.ModelProto, graph: Graph, { outputs }: SampleComparison): void {
  for (const info of proto.graph?.output ?? []) {
    const found = outputs.get(info.name ?? "");
    const declared = graph.outputs.find(({ name }) => name === info.name)?.declared;
    const tensorType = info.type?.tensorType;
    if (!found || !tensorType) continue;
    tensorType.shape = new onnx.TensorShapeProto({
      dim: found.shape.map((length, axis) => {
        if (axis === found.batchAxis) return length === comparedSamples ? { dimParam: "batch" } : {};
        const dim = declared ? declared[axis] : length;
        if (typeof dim === "number") return { dimValue: Long.fromNumber(dim) };
        return dim === undefined ? {} : { dimParam: dim };
      }),
    });
  }
}

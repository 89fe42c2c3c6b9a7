import type { Probe } from "../../src/analysis/probe.ts";
import { messageOf } from "../../src/errors.ts";
import { meanSquaredError } from "../../src/losses/elementwise.ts";
import { readModel } from "../../src/onnx/files-node.ts";
import { encodeModel, type Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { differentiate, type GradientModel } from "../../src/programs/differentiate.ts";
import type { LossOptions } from "../../src/programs/options.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { type Comparison, compareGradients, type OwnGradient } from "./compare.ts";
import { type DirectionalCheck, directionalError, inFloat64 as stepInFloat64 } from "./directional.ts";
import { gradientsInFloat64, inFloat64 } from "./float64.ts";
import { NumberIndex } from "./number-index.ts";
import type { Reference } from "./reference.ts";
import {
  directionalLimit,
  gradientLimit,
  lossLimit,
  type PeerResult,
  type Status,
  zeroLimit,
} from "./result.ts";
import { readSafeTensors } from "./safetensors.ts";

type Figures = Omit<PeerResult, "name" | "family" | "exporter" | "mode">;

/** A probe that measures the time that ONNX Runtime takes. */
function timedProbe(): Probe & { milliseconds: number } {
  const timed = {
    ...nodeProbe,
    milliseconds: 0,
    outputs: (model: Uint8Array) => measure(() => nodeProbe.outputs(model)),
    run: (...all: Parameters<Probe["run"]>) => measure(() => nodeProbe.run(...all)),
  };
  async function measure<T>(work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      timed.milliseconds += performance.now() - start;
    }
  }
  return timed;
}

/** The results of differentiating a model and running the gradient graph, with timings. */
export interface Run {
  readonly gradient: GradientModel;
  readonly loss: number;
  readonly own: readonly OwnGradient[];
  readonly figures: Pick<PeerResult, "nodes" | "gradientNodes" | "milliseconds" | "probeMilliseconds">;
}

/** Differentiates a model and runs the gradient graph. */
export async function runGradients(
  model: Model,
  options: LossOptions,
  feeds: ReadonlyMap<string, Tensor>,
): Promise<Run> {
  const probe = timedProbe();
  const start = performance.now();
  const gradient = await differentiate(model, options, probe);
  const milliseconds = performance.now() - start - probe.milliseconds;
  const graph = gradient.model.proto.graph;
  const inputs = new Set((graph?.input ?? []).map(({ name }) => name ?? ""));
  const results = await nodeProbe.run(
    encodeModel(gradient.model),
    new Map([...feeds].filter(([name]) => inputs.has(name))),
  );
  const values = new Map(
    (graph?.initializer ?? []).map((proto) => [proto.name ?? "", Tensor.fromProto(proto)]),
  );
  const own = [...gradient.gradients].flatMap(([name, output]) => {
    const [value, found] = [values.get(name), results.get(output)];
    return value && found ? [{ name, value, gradient: found }] : [];
  });
  return {
    gradient,
    loss: results.get(gradient.loss)?.numbers()[0] ?? Number.NaN,
    own,
    figures: {
      nodes: model.proto.graph?.node?.length ?? 0,
      gradientNodes: graph?.node?.length ?? 0,
      milliseconds: Math.round(milliseconds),
      probeMilliseconds: Math.round(probe.milliseconds),
    },
  };
}

/** Differentiates an export of a network and compares the gradients with PyTorch's. */
export async function checkExport(
  path: string,
  reference: Reference,
  exporter: string,
  mode: string,
): Promise<Figures> {
  const model = await readModel(path);
  const base = { nodes: model.proto.graph?.node?.length ?? 0 };
  const refusal = await refusalOfRuntime(model, reference.feeds);
  if (refusal) return { ...base, status: "no export", note: `ONNX Runtime: ${refusal}` };
  try {
    const first = await runGradients(model, { loss: "loss" }, reference.feeds);
    // The dynamo exporter writes BatchNorm in inference form in every mode.
    const kind = exporter === "dynamo" || mode === "eval" ? "eval" : "train";
    const comparison = compareGradients(first.own, reference, kind);
    const complete = comparison.missing.length === 0 && comparison.error <= gradientLimit;
    const named = complete ? [] : namesOfMissing(first, reference);
    if (named.length === 0)
      return { ...first.figures, ...(await judge(first, reference, kind, mode, comparison)) };
    // Name the initializers that the tool considers constants but PyTorch trains; their gradients must be right too.
    const names = [...first.own.map(({ name }) => name), ...named].map((name) =>
      name.replace(/[^\w]/g, "\\$&"),
    );
    const trainable = new RegExp(`^(${names.join("|")})$`);
    const second = await runGradients(model, { loss: "loss", trainable }, reference.feeds);
    const judged = await judge(second, reference, kind, mode, compareGradients(second.own, reference, kind));
    const note = `${named.length} of its parameters only with --trainable: ${shortList(named)}`;
    return { ...first.figures, ...judged, note: [judged.note, note].filter(Boolean).join("; ") };
  } catch (error) {
    return { ...base, status: "refused", note: messageOf(error) };
  }
}

/** ONNX Runtime's error message about the unchanged export. */
async function refusalOfRuntime(
  model: Model,
  feeds: ReadonlyMap<string, Tensor>,
): Promise<string | undefined> {
  try {
    await onRuntime(model, feeds);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** Float initializers outside `own` that hold numbers of parameters; a single number may coincide by chance. */
function namesOfMissing({ gradient, own }: Run, reference: Reference): string[] {
  const index = new NumberIndex(reference.values);
  const known = new Set(own.map(({ name }) => name));
  return (gradient.model.proto.graph?.initializer ?? [])
    .map((proto) => Tensor.fromProto(proto))
    .filter(({ name, type, size }) => type === "float" && size > 1 && !known.has(name))
    .filter((tensor) => index.locate(tensor))
    .map(({ name }) => name);
}

async function judge(
  { gradient, own, loss }: Run,
  reference: Reference,
  kind: "eval" | "train",
  mode: string,
  comparison: Comparison,
): Promise<Omit<Figures, "nodes">> {
  const { unmatched, missing, error, pytorchError, zeroError } = comparison;
  const exact = reference.about[kind].loss;
  const lossError = Math.abs(loss - exact) / Math.abs(exact);
  const right = lossError <= lossLimit && zeroError <= zeroLimit;
  const close = right && error <= gradientLimit;
  const exactly = close ? undefined : await compareInFloat64(gradient, own, reference, kind);
  const closeInFloat64 = exactly !== undefined && exactly.error <= gradientLimit;
  // A parameter that is only partly in the file has another gradient there: compare all of them with differences of the loss.
  const partly = right && !close && !closeInFloat64 && missing.length > 0;
  // The same of a parameter of which the exporter computed with only one of the places that read it.
  const off = exactly && right && !closeInFloat64 && !partly ? exactly.off : [];
  const moved = partly
    ? own
    : [
        ...unmatched.filter((entry) => entry.gradient.numbers().some((number) => number !== 0)),
        ...holdersOf(off, own, reference),
      ];
  const directional =
    moved.length > 0 ? await directionalCheck(gradient, reference, moved, off.length > 0) : undefined;
  const float64Error = partly ? undefined : exactly?.error;
  let status: Status = "differs";
  if (right && (directional === undefined || passes(directional))) {
    if (close) status = "match";
    else if (partly || off.length > 0) status = "folded";
    else if (closeInFloat64) status = "float32";
  }
  const notes = [
    reference.about.undetached && "PyTorch's gradients without detach, which no file keeps",
    missing.length > 0 && `not in the file as parameters: ${shortList(missing)}`,
    unmatched.length > 0 &&
      `computed from parameters by the exporter: ${shortList(unmatched.map(({ name }) => name))}`,
    off.length > 0 &&
      `the exporter computed with ${shortList(off)} in some of its places; all others in float64: ${exactly?.otherError.toExponential(0)}`,
  ].filter((note) => typeof note === "string");
  return {
    status,
    ...(notes.length > 0 && { note: notes.join("; ") }),
    ...(kind !== mode && reference.about.train.loss !== exact && { against: "eval" as const }),
    parameters: comparison.parameters,
    covered: comparison.covered,
    lossError,
    error,
    worst: comparison.worst,
    pytorchError,
    ...(comparison.zeros > 0 && { zeroError }),
    ...(float64Error !== undefined && { float64Error }),
    ...(directional && { directional: moved.length, directionalError: directional.error }),
  };
}

function passes({ error, rounding }: DirectionalCheck): boolean {
  return error <= Math.max(directionalLimit, rounding);
}

/** Compares with differences of the loss: in float32, and in float64 where these say too little or `exact` is asked for. */
async function directionalCheck(
  { model, loss }: GradientModel,
  reference: Reference,
  moved: readonly OwnGradient[],
  exact: boolean,
): Promise<DirectionalCheck> {
  const single = await directionalError(
    { model, loss, run: (each) => onRuntime(each, reference.feeds) },
    moved,
  );
  if (!exact && passes(single)) return single;
  try {
    const run = (each: Model) => inFloat64(each, reference);
    // What remains is the rounding of the gradients themselves.
    return { ...(await directionalError({ model, loss, run }, moved, stepInFloat64)), rounding: 0 };
  } catch (error) {
    console.error(messageOf(error));
    return { ...single, rounding: 0 };
  }
}

/** Runs a model in ONNX Runtime on the data of its inputs. */
function onRuntime(model: Model, feeds: ReadonlyMap<string, Tensor>): Promise<ReadonlyMap<string, Tensor>> {
  const inputs = new Set((model.proto.graph?.input ?? []).map(({ name }) => name ?? ""));
  return nodeProbe.run(encodeModel(model), new Map([...feeds].filter(([name]) => inputs.has(name))));
}

/** The initializers that hold numbers of these parameters. */
function holdersOf(
  names: readonly string[],
  own: readonly OwnGradient[],
  reference: Reference,
): OwnGradient[] {
  if (names.length === 0) return [];
  const index = new NumberIndex(reference.values);
  return own.filter(({ value }) => index.locate(value)?.some((place) => place && names.includes(place.name)));
}

async function compareInFloat64(
  gradient: GradientModel,
  own: readonly OwnGradient[],
  reference: Reference,
  kind: "eval" | "train",
): Promise<Comparison | undefined> {
  try {
    return compareGradients(await gradientsInFloat64(gradient, own, reference), reference, kind);
  } catch (error) {
    console.error(messageOf(error));
    return undefined;
  }
}

function shortList(names: readonly string[]): string {
  return names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
}

/**
 * Differentiates an export without a loss: the loss is the mean squared distance of its first float output from random
 * labels, and its derivative along a direction is the reference.
 * @param data - a .safetensors file with `feed/<input>` and `labels`, whose metadata names the output
 */
export async function checkWithoutReference(path: string, data: string): Promise<Figures> {
  const model = await readModel(path);
  const base = { nodes: model.proto.graph?.node?.length ?? 0 };
  const { tensors, metadata } = readSafeTensors(data);
  const feeds = new Map([...tensors].map(([name, tensor]) => [name.replace(/^feed\//, ""), tensor]));
  const refusal = await refusalOfRuntime(model, feeds);
  if (refusal) return { ...base, status: "no export", note: `ONNX Runtime: ${refusal}` };
  try {
    const output = metadata.output ?? "";
    const batch = feeds.get("labels")?.dims[0] ?? 1;
    const { gradient, own, figures } = await runGradients(
      model,
      { objective: meanSquaredError(), output, batch },
      feeds,
    );
    const { model: differentiated, loss } = gradient;
    const run = (each: Model) => onRuntime(each, feeds);
    const directional = await directionalError({ model: differentiated, loss, run }, own);
    return {
      ...figures,
      status: passes(directional) ? "match" : "differs",
      parameters: own.length,
      directional: own.length,
      directionalError: directional.error,
    };
  } catch (error) {
    return { ...base, status: "refused", note: messageOf(error) };
  }
}

import { expect } from "vitest";
import type { Rule } from "../../../src/autodiff/rule.ts";
import { rules } from "../../../src/autodiff/table.ts";
import { Emit } from "../../../src/graph/emit.ts";
import type { Node } from "../../../src/graph/node.ts";
import type { Tensor } from "../../../src/onnx/tensor.ts";
import { offWebGpu, onCpu } from "../../../src/passes/backends/off-device.ts";
import { loweringFor } from "../../../src/passes/backends/table.ts";
import { runPasses } from "../../../src/passes/pass.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { bytesOf, gradientCase, random, titleOf } from "../../autodiff/rule-case.ts";

/** Every sample of every rule: the operators and what they are called in tests. */
export const deviceCases = Object.entries(rules).flatMap(([op, rule]) =>
  "vjp" in rule ? (rule as Rule).samples.map((sample) => ({ op, sample, title: titleOf(op, sample) })) : [],
);

/** A node and its gradients as a model in the form for WebGPU; refused ones carry the reason. */
export interface DeviceModel {
  /** The operator of the node. */
  readonly op: string;
  readonly title: string;
  readonly bytes: Uint8Array;
  readonly feeds: ReadonlyMap<string, Tensor>;
  readonly ops: ReadonlySet<string>;
  /** The kinds of its nodes, see {@link kindOf}, and of those that were brought into another form. */
  readonly kinds: ReadonlySet<string>;
  readonly refused: string | undefined;
}

/**
 * A kind of node: its operator, and of the operator that a sample is for also the names of its attributes, what texts among them
 * say, the types of its inputs and the rank of the first one.
 */
function kindOf({ op, domain, attributes, inputs }: Node, isTested: boolean): string {
  if (!isTested) return `${domain} ${op}`;
  const settings = [...attributes].map(([name, value]) =>
    value.kind === "string" ? [name, value.value] : name,
  );
  return JSON.stringify([domain, op, settings, inputs.map((input) => input?.type), inputs[0]?.shape?.length]);
}

/**
 * The samples as models. A session for each takes most of a test's time, on a software GPU to compile its shaders: `npm test`
 * takes the samples with a node of a kind that no sample before them has, `npm run test:long` takes all.
 */
export async function deviceModels(options: { readonly lower: boolean }): Promise<DeviceModel[]> {
  const seen = new Set<string>();
  const models: DeviceModel[] = [];
  for (const testCase of deviceCases) {
    const model = await deviceModel(testCase, options);
    const isNew = [...model.kinds].some((kind) => !seen.has(kind));
    if (isNew || model.refused || process.env.MODE === "long") models.push(model);
    for (const kind of model.kinds) seen.add(kind);
  }
  return models;
}

/** @param lower - whether it is put into the form for WebGPU */
const lower = await loweringFor("webgpu", nodeProbe);

export async function deviceModel(
  { op, sample, title }: (typeof deviceCases)[number],
  options: { readonly lower: boolean },
): Promise<DeviceModel> {
  const { graph, feeds, results } = await gradientCase({ op, sample, type: "float" }, random(7));
  const node = graph.nodes.find(({ name }) => name === "node");
  for (const output of node?.outputs ?? []) {
    if (output?.type && !results.includes(output) && !graph.outputs.includes(output)) graph.addOutput(output);
  }
  graph.prune();
  const kinds = () => graph.nodes.map((own) => kindOf(own, own.op === node?.op));
  const before = kinds();
  let refused: string | undefined;
  if (options.lower) {
    try {
      const emit = new Emit(graph, { prefix: "gpu/" });
      await runPasses(lower.passes, graph, { emit, probe: nodeProbe });
    } catch (error) {
      refused = String(error);
    }
    graph.prune();
  }
  const used = new Set(graph.inputs.map(({ name }) => name));
  return {
    ...{ op, title },
    bytes: bytesOf(graph),
    feeds: new Map([...feeds].filter(([name]) => used.has(name))),
    ops: new Set(graph.nodes.map((own) => own.op)),
    kinds: new Set([...before, ...kinds()]),
    refused,
  };
}

/** The largest difference of two lists, as a share of the largest number expected. */
function shareOff(expected: readonly number[], found: readonly number[]): number {
  if (expected.length !== found.length) return Number.POSITIVE_INFINITY;
  const scale = Math.max(1e-3, ...expected.filter(Number.isFinite).map(Math.abs));
  return expected.reduce((worst, value, i) => {
    const other = found[i] ?? Number.NaN;
    const off = Object.is(value, other) || value === other ? 0 : Math.abs(value - other) / scale;
    return Number.isNaN(off) ? Number.POSITIVE_INFINITY : Math.max(worst, off);
  }, 0);
}

/** Cases of that title end in an error with that message. */
type KnownError = readonly [title: RegExp, message: RegExp];

/** Cases that WebGPU does not run, with ONNX Runtime's message: an error a user sees, not a wrong number. */
const webGpuRefuses: readonly KnownError[] = [
  [/^Resize .* antialias=1/, /antialias/],
  [/^Resize (\[5\]|\[1,2,2,2,2,1\])/, /tens/],
  [/^com\.microsoft\.Skip(Simplified)?LayerNormalization .*epsilon=0\.1/, /Unsupported OrtValue type/],
  [/^com\.microsoft\.MultiHeadAttention .*(lengths|padding|pad)/, /key_padding_mask/],
  [/^(GRU|LSTM) .*activations=/, /webgpu\/rnn/],
  [/^BatchNormalization .*training_mode=1/, /trainingMode/],
  [/^Conv .*3-D, (strided, grouped|depthwise)/, /Conv3D does not support grouped/],
  [/^ConvTranspose \[1,2,2/, /Only Conv2d or Conv1d/],
  [/^MaxPool .*with indices/, /Indices/],
  [/^MaxPool .*storage_order=1/, /column major/],
  [/^(Conv|ConvTranspose|InstanceNormalization|MaxPool|AveragePool|Softmax) \[0,/, /NormalizeDispatchG/],
  [/^Einsum .*\.\.\./, /raw_hash_map/],
  [/^com\.microsoft\.GatherBlockQuantized .*a part of a block/, /gather_block_quantized/],
];

/** Cases of operators that otherwise run on the device, but not in this form. */
const webGpuPartly: readonly RegExp[] = [
  /^GridSample /,
  /^com\.microsoft\.MatMulNBits .*zero points of floats/,
];

/** Cases whose numbers may differ: why, and by how much. */
const webGpuDiffers: readonly (readonly [title: RegExp, atMost: number, reason: string])[] = [
  [/^TopK .*sorted=0/, Number.POSITIVE_INFINITY, "the order is free"],
  [/^LayerNormalization .*mean beyond the deviation/, 5e-3, "its variance is E x² − (E x)²"],
];

/** Cases that ONNX Runtime's build for browsers does not open. */
const browserLacks: readonly KnownError[] = [[/^ai\.onnx\.ml\./, /No Op registered/]];
/** Cases that it opens on WebGPU alone, where Dropout is written out. */
const wasmLacks: readonly KnownError[] = [
  [/^com\.microsoft\.GatherBlockQuantized/, /Could not find an implementation/],
  [/^Dropout \[2,3\]/, /Dropout/],
];
/** It holds the second output against a shape that fits one axis only; on WebGPU that output is computed apart. */
const browserMisshapes: KnownError = [/^SimplifiedLayerNormalization \[2,3,4\] \[3,4\]/, /merge shape info/];

/** What running a case on a device gave: numbers by output and whether all was on the device, or ONNX Runtime's error. */
export type Outcome =
  | { readonly outputs: Readonly<Record<string, readonly number[]>>; readonly whole: boolean }
  | { readonly error: string };

/** Holds the numbers of a device against the CPU's. */
async function checkNumbers({ title, bytes, feeds }: DeviceModel, outcome: Outcome, atMost: number) {
  if ("error" in outcome) throw new Error(`${title}: ${outcome.error}`);
  for (const [name, tensor] of await nodeProbe.run(bytes, feeds)) {
    const off = shareOff(tensor.numbers(), outcome.outputs[name] ?? []);
    expect(off, `${title}: ${name}`).toBeLessThanOrEqual(atMost);
  }
}

/** A known error, if the case is known to end in one. */
function expectKnownError(known: readonly KnownError[], { title }: DeviceModel, outcome: Outcome): boolean {
  const [, message] = known.find(([pattern]) => pattern.test(title)) ?? [];
  if (!message) return false;
  expect("error" in outcome ? outcome.error : "it runs", title).toMatch(message);
  return true;
}

/** Same numbers as node's CPU, or not in the build. */
export async function checkOnBrowserWasm(model: DeviceModel, outcome: Outcome): Promise<void> {
  const known = [...browserLacks, ...wasmLacks, browserMisshapes];
  if (!expectKnownError(known, model, outcome)) await checkNumbers(model, outcome, 1e-4);
}

/** The same as {@link checkOnWebGpu}, for a build that lacks some operators. */
export async function checkOnBrowserWebGpu(model: DeviceModel, outcome: Outcome): Promise<void> {
  if (!expectKnownError(browserLacks, model, outcome)) await checkOnWebGpu(model, outcome);
}

/** Same numbers as the CPU's, or an error that is known, and on the device but for what is known not to be. */
export async function checkOnWebGpu(model: DeviceModel, outcome: Outcome): Promise<void> {
  if (expectKnownError(webGpuRefuses, model, outcome)) return;
  const { title, ops } = model;
  const [, atMost = 1e-3] = webGpuDiffers.find(([pattern]) => pattern.test(title)) ?? [];
  await checkNumbers(model, outcome, atMost);
  const known =
    [...ops].some((op) => offWebGpu[op] === onCpu) || webGpuPartly.some((pattern) => pattern.test(title));
  const whole = "whole" in outcome && outcome.whole;
  if (!known) expect(whole, `${title} runs on the device: ${[...ops].join(" ")}`).toBe(true);
}

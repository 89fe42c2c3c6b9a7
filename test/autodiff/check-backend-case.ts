import * as ort from "onnxruntime-node";
import type { RuleTable } from "../../src/autodiff/rule.ts";
import { messageOf, SorthError } from "../../src/errors.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { DataType, isFloat } from "../../src/onnx/data-types.ts";
import type { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { crossesTheBinding } from "../../src/runtime/ort-tensor.ts";
import { backendInputs, backendModel } from "../helpers/backend-models.ts";
import { Lcg } from "../helpers/lcg.ts";
import { fromOrt, toOrt } from "../helpers/run-model.ts";
import {
  type BackendCase,
  type CaseGradient,
  gradientModel,
  type Real,
  realTensor,
  retypedFeeds,
  retypedModel,
} from "./backend-case.ts";
import { compareAlong, offKinks, type Point, randomDirection } from "./direction.ts";

/** What became of a backend model's gradient. Every model gets exactly one. */
export interface Outcome {
  readonly kind: /** The gradient agrees with differences. */
    | "passed in float64"
    | "passed in float32"
    /** It is zero, and so are the differences. */
    | "zero"
    /** No input or no output of floats: there is nothing to differentiate. */
    | "no floats"
    | "not run by ONNX Runtime"
    | "random"
    /** By the table or by the operator's rule. */
    | "refused"
    /** The table has no entry for the operator. */
    | "no rule"
    /** A kink or a jump near every point that was tried. */
    | "not smooth"
    /** The gradient is wrong, or there was an error that is no refusal. */
    | "failed";
  /** Why; for "refused" and "no rule" with the operator. */
  readonly reason: string;
}

/** Inputs of floats for which no gradient is asked. */
const controls: Readonly<Record<string, readonly number[]>> = {
  // They choose what is computed.
  Dropout: [1],
  MelWeightMatrix: [3, 4],
  OneHot: [0, 1],
  Resize: [1, 2],
  Upsample: [1],
  // Weights of classes, which no framework trains.
  NegativeLogLikelihoodLoss: [2],
  SoftmaxCrossEntropyLoss: [2],
};

/** Operators whose results differ from run to run. */
const random = new Set([
  ...["Bernoulli", "Multinomial"],
  ...["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"],
]);

/** How many points are tried where the first lie near kinks. */
const trials = 4;

type Feeds = ReadonlyMap<string, Tensor>;

/** A session on one thread that fetches the same outputs each time. */
class Runner {
  readonly #session: ort.InferenceSession;
  readonly #outputs: readonly string[];

  private constructor(session: ort.InferenceSession, outputs: readonly string[]) {
    this.#session = session;
    this.#outputs = outputs;
  }

  static async open(proto: onnx.ModelProto, outputs: readonly string[]): Promise<Runner> {
    const session = await ort.InferenceSession.create(encodeModelProto(proto), {
      graphOptimizationLevel: "disabled",
      intraOpNumThreads: 1,
      logSeverityLevel: 4,
    });
    return new Runner(session, outputs);
  }

  /** Values that the model does not read are left out. */
  async run(feeds: Feeds): Promise<Feeds> {
    const read = [...feeds].filter(([name]) => this.#session.inputNames.includes(name));
    const inputs = Object.fromEntries(read.map(([name, tensor]) => [name, toOrt(tensor)]));
    // Only outputs of floats: to fetch one of 4-bit integers ends the process.
    const results = await this.#session.run(inputs, [...this.#outputs]);
    return new Map(Object.entries(results).map(([name, tensor]) => [name, fromOrt(name, tensor)]));
  }

  async close(): Promise<void> {
    await this.#session.release();
  }
}

const opOf = ({ opType, domain }: onnx.NodeProto.$Properties): string =>
  domain && domain !== "ai.onnx" ? `${domain}.${opType}` : (opType ?? "");

/** The operators of a model, those of bodies left out. */
export const operatorsOf = (model: onnx.ModelProto): string[] => [
  ...new Set((model.graph?.node ?? []).map(opOf)),
];

/** Holds the gradient of a backend model against differences, in float64 where ONNX Runtime has the kernels. */
export async function checkBackendCase(name: string, rules: RuleTable): Promise<Outcome> {
  const bytes = backendModel(name);
  const model = retypedModel(bytes, "float");
  const inputs = backendInputs(name, model);
  const tensors = inputs.filter((tensor) => tensor !== undefined);
  if (tensors.length < inputs.length) {
    return { kind: "no floats", reason: "its inputs are sequences or optionals" };
  }
  if (!tensors.some(({ type }) => isFloat(type))) return { kind: "no floats", reason: "no input of floats" };
  const outputs = (model.graph?.output ?? [])
    .filter(({ type }) => type?.tensorType?.elemType === DataType.float)
    .map((output) => output.name ?? "");
  if (outputs.length === 0) return { kind: "no floats", reason: "no output of floats" };
  if (operatorsOf(model).some((op) => random.has(op))) {
    return { kind: "random", reason: "its result differs from run to run" };
  }
  const attempt = (type: Real) => {
    const proto = retypedModel(bytes, type);
    const feeds = retypedFeeds(tensors, type);
    const wrt = [...feeds.values()].filter((t) => t.type === type && !isControl(proto, t.name));
    return check(name, { proto, feeds, wrt: wrt.map((tensor) => tensor.name) }, type, outputs, rules);
  };
  const double = await attempt("double");
  // Some kernels for doubles are missing, some compute in float32.
  const inexact = ["not run by ONNX Runtime", "failed", "not smooth"].includes(double.kind);
  return inexact ? attempt("float") : double;
}

const isControl = (proto: onnx.ModelProto, name: string): boolean =>
  (proto.graph?.node ?? []).some((node) =>
    (controls[opOf(node)] ?? []).some((index) => node.input?.[index] === name),
  );

async function check(
  name: string,
  test: BackendCase,
  type: Real,
  outputs: readonly string[],
  rules: RuleTable,
): Promise<Outcome> {
  if (test.wrt.length === 0) return { kind: "no floats", reason: "no input of floats that takes a gradient" };
  let forward: Runner;
  let results: Feeds;
  try {
    const foreign = [...test.feeds.values()].find((tensor) => !crossesTheBinding(tensor.type));
    if (foreign) throw new Error(`its JavaScript binding cannot feed ${foreign.type}`);
    forward = await Runner.open(test.proto, outputs);
    results = await forward.run(test.feeds);
  } catch (error) {
    return { kind: "not run by ONNX Runtime", reason: ortReason(error) };
  }
  try {
    return await compare(new Lcg(name), test, { type, forward, results }, rules);
  } finally {
    await forward.close();
  }
}

async function compare(
  random: Lcg,
  test: BackendCase,
  { type, forward, results }: { type: Real; forward: Runner; results: Feeds },
  rules: RuleTable,
): Promise<Outcome> {
  const projections = new Map(
    [...results].map(([output, { dims, size }]) => {
      const numbers = Array.from({ length: size }, () => 2 * random.next() - 1);
      return [output, realTensor("", type, dims, numbers)];
    }),
  );
  const finite = new Map(
    [...results].flatMap(([output, y]) => {
      const mask = Uint8Array.from(y.numbers(), (value) => (Number.isFinite(value) ? 1 : 0));
      return mask.every(Boolean) ? [] : [[output, Tensor.of("", "bool", y.dims, mask)] as const];
    }),
  );
  let built: CaseGradient;
  let gradient: Runner;
  try {
    built = await gradientModel(test, projections, finite);
    gradient = await Runner.open(built.proto, [...built.gradients.values(), built.loss]);
  } catch (error) {
    return refusal(error, rules);
  }
  const feedsAt = (point: Point): Feeds =>
    new Map(
      [...test.feeds.values(), ...built.masks].map((tensor) => {
        const numbers = point.get(tensor.name);
        return [tensor.name, numbers ? realTensor(tensor.name, type, tensor.dims, numbers) : tensor];
      }),
    );
  const f = async (point: Point): Promise<number> => {
    // What a Dropout drops in the model itself nobody can choose: there the gradient graph's own loss is the function.
    if (built.masks.length > 0)
      return (await gradient.run(feedsAt(point))).get(built.loss)?.numbers()[0] ?? 0;
    return projected(await forward.run(feedsAt(point)), projections);
  };
  try {
    let message = "";
    for (let trial = 0; trial < trials; trial++) {
      const at: Point = new Map(
        test.wrt.map((input) => [input, offKinks(test.feeds.get(input)?.numbers() ?? [], random)]),
      );
      const slopes = await gradient.run(feedsAt(at));
      const verdict = await compareAlong(randomDirection(at, random), {
        ...{ type, at, f },
        gradient: new Map([...built.gradients].map(([input, y]) => [input, slopes.get(y)?.numbers() ?? []])),
      });
      if (verdict.kind === "differs") return { kind: "failed", reason: verdict.message };
      if (verdict.kind === "agrees") {
        if (verdict.zero) return { kind: "zero", reason: zeroReason(test.proto, rules) };
        return { kind: type === "double" ? "passed in float64" : "passed in float32", reason: "" };
      }
      message = verdict.message;
    }
    return { kind: "not smooth", reason: message };
  } catch (error) {
    return { kind: "failed", reason: messageOf(error) };
  } finally {
    await gradient.close();
  }
}

/** Σ v·y over the outputs, in double precision; elements that are not finite count nothing. */
function projected(results: Feeds, projections: Feeds): number {
  let sum = 0;
  for (const [output, v] of projections) {
    const y = results.get(output)?.data as ArrayLike<number>;
    const weights = v.data as ArrayLike<number>;
    for (let i = 0; i < weights.length; i++) {
      if (Number.isFinite(y[i])) sum += (y[i] as number) * (weights[i] as number);
    }
  }
  return sum;
}

/** Why a gradient is zero, where the table says so. */
function zeroReason(proto: onnx.ModelProto, rules: RuleTable): string {
  const reasons = operatorsOf(proto).flatMap((op) => {
    const entry = rules[op];
    return entry && "constant" in entry ? [entry.constant] : [];
  });
  return [...new Set(reasons)].join("; ") || "its data lies where the slope is 0";
}

/** An error of the gradient as an outcome: refused in the words of the table or of a rule, or an accident. */
function refusal(error: unknown, rules: RuleTable): Outcome {
  const message = messageOf(error);
  const reason = /^(.*?); it is needed on the path /s.exec(message)?.[1];
  if (!(error instanceof SorthError) || reason === undefined) return { kind: "failed", reason: message };
  const missing = /^cannot differentiate (\S+) \(node ".*?"\): (.*)$/s.exec(reason);
  if (!missing) return { kind: "refused", reason: withoutNode(reason) };
  const [, op = "", words = ""] = missing;
  const entry = rules[op];
  if (!entry) return { kind: "no rule", reason: op };
  return { kind: "refused", reason: `${op}: ${withoutNode(words)}` };
}

/** A refusal without the name of the node, so that equal ones count together. */
const withoutNode = (reason: string): string =>
  reason.replace(/ ?\(?node ".*?"\)?/g, "").replace(/"[^"]*" ?/g, "");

/** ONNX Runtime's reason in one line, without positions in its source and names of nodes. */
function ortReason(error: unknown): string {
  const message = messageOf(error).replace(/\s+/g, " ");
  if (/NOT_IMPLEMENTED|Could not find an implementation/.test(message)) return "it has no kernel";
  return message
    .replace(/\/\S+:\d+ \S.*?\) /g, "")
    .replace(/Name:'.*?' /g, "")
    .slice(0, 200);
}

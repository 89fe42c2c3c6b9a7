/**
 * Checks operators on samples that are drawn at random: shapes, attributes and numbers.
 *
 *     npm run random-samples -- --seed 1 --cases 100
 *
 * On the CPU, the gradient of each sample is held against differences (in float64 where ONNX Runtime has the kernels), up to four times
 * with other numbers, since one draw may lie on a kink. On WebGPU, the outputs and the gradient are held against the CPU's.
 *
 * --backend NAME   cpu (default) or webgpu
 * --seed N         which samples (default 1)
 * --cases N        samples of each operator (default 50)
 * --only NAMES     operators, with commas (default: all)
 *
 * What ONNX Runtime does not run is counted with its message, and so is what is refused. Ends with exit code 1 if a number was wrong.
 */
import { InferenceSession } from "onnxruntime-node";
import type { Rule, Sample } from "../../src/autodiff/rule.ts";
import { rules } from "../../src/autodiff/table.ts";
import { messageOf } from "../../src/errors.ts";
import { fromOrtTensor, toOrtTensor } from "../../src/runtime/ort-tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { inDouble, titleOf } from "../../test/autodiff/rule-case.ts";
import { directionCheck } from "../../test/autodiff/slopes.ts";
import { addition } from "../../test/helpers/addition.ts";
import { maxAbs, maxDifference } from "../../test/helpers/numbers.ts";
import { useGpu } from "../../test/helpers/software-gpu.ts";
import { scriptArguments } from "../arguments.ts";
import { arrangements } from "./arrangements.ts";
import { Draw } from "./draw.ts";
import { numbers } from "./numbers.ts";
import { windows } from "./windows.ts";

const { values } = scriptArguments(import.meta.url, {
  options: {
    backend: { type: "string", default: "cpu" },
    seed: { type: "string", default: "1" },
    cases: { type: "string", default: "50" },
    only: { type: "string" },
  },
});
const makers = { ...windows, ...arrangements, ...numbers };
const chosen = values.only?.split(",") ?? Object.keys(makers);

/** Draws of other numbers, before a slope counts as wrong. */
const draws = 4;

/** Holds a gradient against differences. @returns what is wrong, or undefined */
async function onCpu(op: string, sample: Sample): Promise<string | undefined> {
  const rule = rules[op] as Rule;
  let wrong: string | undefined;
  for (let seed = 1; seed <= draws; seed++) {
    const check = (type: "double" | "float") => directionCheck({ op, sample, type }, rule, seed);
    const double = await inDouble(sample, () => check("double"));
    const { slopes } = double?.result ?? (await check("float"));
    const tolerance = double ? 3e-7 : rule.linear ? 5e-6 : 1e-3;
    const worst = slopes.find(({ error }) => !(error <= tolerance));
    if (!worst) return undefined;
    wrong = `${worst.of}: slope ${worst.analytic}, by differences ${worst.numeric}`;
  }
  return wrong;
}

/** Holds outputs and gradient on the device against the CPU's. */
async function onWebGpu(op: string, sample: Sample): Promise<string | undefined> {
  const { deviceModel } = await import("../../test/passes/backends/device-cases.ts");
  const { bytes, feeds, refused } = await deviceModel(
    { op, sample, title: titleOf(op, sample) },
    { lower: true },
  );
  if (refused !== undefined) throw new Error(refused);
  const expected = await nodeProbe.run(bytes, feeds);
  const session = await InferenceSession.create(bytes, {
    executionProviders: ["webgpu"],
    logSeverityLevel: 4,
    extra: { session: { disable_cpu_ep_fallback: "1" } },
  });
  const given = [...feeds].map(([name, tensor]) => [name, toOrtTensor(tensor)]);
  const found = await session.run(Object.fromEntries(given)).finally(() => session.release());
  for (const [name, tensor] of expected) {
    const result = found[name];
    const [right, own] = [tensor.numbers(), result ? fromOrtTensor(name, result).numbers() : []];
    const off = right.length === own.length ? maxDifference(own, right) : Number.POSITIVE_INFINITY;
    if (!(off <= 1e-3 * Math.max(1e-3, maxAbs(right)))) return `${name}: off by ${off}`;
  }
  return undefined;
}

const check = values.backend === "webgpu" ? onWebGpu : onCpu;
let keeper: InferenceSession | undefined;
if (values.backend === "webgpu") {
  const missing = useGpu();
  if (missing !== "") throw new Error(missing);
  // ONNX Runtime drops the device with the last session.
  keeper = await InferenceSession.create(addition(), { executionProviders: ["webgpu"], logSeverityLevel: 4 });
}
let wrong = 0;
for (const [at, [op, make]] of Object.entries(makers).entries()) {
  if (!chosen.includes(op)) continue;
  let right = 0;
  const others = new Map<string, { count: number; first: string }>();
  for (let i = 0; i < Number(values.cases); i++) {
    const sample = make(new Draw(Number(values.seed) * 1000 + at, i));
    const title = titleOf(op, sample);
    try {
      const fault = await check(op, sample);
      if (fault === undefined) right++;
      else {
        wrong++;
        console.log(`WRONG ${title}: ${fault}`);
      }
    } catch (error) {
      const message = messageOf(error).slice(0, 120).replace(/\d+/g, "N");
      const { count, first } = others.get(message) ?? { count: 0, first: title };
      others.set(message, { count: count + 1, first });
    }
  }
  console.log(`${op}: ${right} right`);
  for (const [message, { count, first }] of others) console.log(`  ${count} not run, ${first}: ${message}`);
}
await keeper?.release();
console.log(wrong === 0 ? "no number was wrong" : `${wrong} samples have wrong numbers`);
process.exitCode = wrong === 0 ? 0 : 1;

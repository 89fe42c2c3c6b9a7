import { setTimeout } from "node:timers/promises";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import type { Shape } from "../../src/graph/shapes.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { elementCount } from "../../src/onnx/tensor.ts";

/** One way to compute something: writes its operators and returns the outputs to compare and to time; undefined to be left out. */
export type Variant = (g: Emit, ...inputs: Typed[]) => readonly Typed[] | undefined;

/** Times of one variant, in milliseconds, and its largest difference from the first variant (relative to the maximum). */
export interface Timing {
  readonly name: string;
  readonly median: number;
  readonly minimum: number;
  readonly difference: number;
}

/** Deterministic numbers in [−1, 1). */
function noise(count: number, seed: number): Float32Array {
  let state = seed * 2654435761 + 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** THREADS=1 measures processor time, which other work on the machine hardly disturbs; otherwise wall time is measured. */
const threads = Number(process.env.THREADS ?? 2);

function clock(): number {
  if (threads > 1) return performance.now();
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

async function session(shapes: readonly Shape[], build: Variant): Promise<InferenceSession | undefined> {
  const graph = new Graph(
    "bench",
    new Map([
      ["", 18],
      ["com.microsoft", 1],
      ["com.microsoft.nchwc", 1],
    ]),
  );
  const g = new Emit(graph, { prefix: "bench/" });
  const inputs = shapes.map((shape, index) => graph.addInput(`input${index}`, "float", shape) as Typed);
  const outputs = build(g, ...inputs);
  if (!outputs) return undefined;
  for (const output of outputs) graph.addOutput(output);
  return InferenceSession.create(encodeModelProto(graphToProto(graph)), {
    intraOpNumThreads: threads,
    logSeverityLevel: 3,
  });
}

/**
 * Runs variants in turn (so that a busy machine slows all of them alike), with 2 threads, and compares their outputs.
 * @param transform - changes the random inputs in place, e.g. to give them ties
 */
export async function compare(
  shapes: readonly Shape[],
  variants: Readonly<Record<string, Variant>>,
  options: { rounds?: number; transform?: (data: Float32Array, input: number) => void } = {},
): Promise<Timing[]> {
  const feeds = Object.fromEntries(
    shapes.map((shape, index) => {
      const data = noise(elementCount(shape), index + 1);
      options.transform?.(data, index);
      return [`input${index}`, new OrtTensor("float32", data, [...shape])];
    }),
  );
  const entries = [];
  for (const [name, build] of Object.entries(variants)) {
    try {
      const made = await session(shapes, build);
      if (made) entries.push({ name, session: made, times: [] as number[], difference: 0 });
    } catch (error) {
      console.log(`  ${name}: ${String(error).slice(0, 300)}`);
    }
  }
  let reference: Float32Array[] | undefined;
  for (const entry of entries) {
    const used = Object.fromEntries(entry.session.inputNames.map((name) => [name, feeds[name] as OrtTensor]));
    const result = await entry.session.run(used);
    const outputs = entry.session.outputNames.map((name) => (result[name] as OrtTensor).data as Float32Array);
    reference ??= outputs;
    entry.difference = Math.max(
      ...outputs.map((output, i) => relativeDifference(output, reference?.[i] ?? output)),
    );
  }
  for (let round = 0; round < (options.rounds ?? 15); round++) {
    for (const entry of entries) {
      const used = Object.fromEntries(
        entry.session.inputNames.map((name) => [name, feeds[name] as OrtTensor]),
      );
      // The threads of the session before still spin for a while, and would take a core from this one.
      if (threads > 1) {
        await setTimeout(40);
        await entry.session.run(used);
      }
      const start = clock();
      await entry.session.run(used);
      entry.times.push(clock() - start);
    }
  }
  for (const entry of entries) await entry.session.release();
  return entries.map(({ name, times, difference }) => {
    const sorted = times.toSorted((a, b) => a - b);
    return {
      name,
      difference,
      median: sorted[sorted.length >> 1] ?? Number.NaN,
      minimum: sorted[0] ?? Number.NaN,
    };
  });
}

function relativeDifference(a: Float32Array, b: Float32Array): number {
  let largest = 0;
  let difference = 0;
  for (let i = 0; i < b.length; i++) {
    largest = Math.max(largest, Math.abs(Number(b[i] ?? 0)));
    difference = Math.max(difference, Math.abs(Number(a[i] ?? 0) - Number(b[i] ?? 0)));
  }
  return difference / (largest || 1);
}

/** Prints timings as aligned lines. */
export function report(title: string, timings: readonly Timing[]): void {
  console.log(title);
  for (const { name, median, minimum, difference } of timings) {
    const numbers = `${median.toFixed(2).padStart(8)} ms median ${minimum.toFixed(2).padStart(8)} ms min`;
    console.log(`  ${name.padEnd(44)} ${numbers}   difference ${difference.toExponential(1)}`);
  }
}

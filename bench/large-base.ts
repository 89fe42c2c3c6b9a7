/**
 * Memory of a training run on a large frozen base: a stack of MatMuls of 4096 units with their numbers in one external file,
 * each with a pair of trained matrices of rank 8 beside it (LoRA). Another process reads, every 50 ms, how much of the run's
 * memory is its own (anonymous) and how much are mapped pages of the file, which the system may drop at any time.
 *
 * Run: npx tsx bench/large-base.ts [--layers 48] [--rows 64] [--steps 10] [--folder /tmp/large-base] [--output bench/results/large-base.json]
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, open, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { scriptArguments } from "../scripts/arguments.ts";
import { Emit } from "../src/graph/emit.ts";
import { type Typed, typed } from "../src/graph/emit-base.ts";
import { Graph } from "../src/graph/graph.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { arrayDataset, readModel, Trainer } from "../src/index.ts";
import { meanSquaredError } from "../src/losses/public.ts";
import { Model } from "../src/onnx/model.ts";
import { onnx } from "../src/onnx/schema.js";
import { Tensor } from "../src/onnx/tensor.ts";
import { writeFileSafely } from "../src/onnx/write-file.ts";
import { machineDescription } from "./machine.ts";

const [width, rank] = [4096, 8];
const layerBytes = width * width * 4;
const data = "base.data";

/** Writes the base and its adapters: `base.onnx`, and `base.data` with one matrix of 64 MiB for each layer. */
async function writeBase(folder: string, layers: number): Promise<string> {
  const graph = new Graph("base", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "layer/" });
  const numbers = (size: number, scale: number) =>
    Float32Array.from({ length: size }, (_, i) => ((((i * 2654435761) % 1000) - 500) / 500) * scale);
  const weights = numbers(width * width, 0.03);
  const weight = (name: string, dims: readonly number[], values: Float32Array) =>
    typed(graph.addInitializer(Tensor.of(name, "float", dims, values)));
  let x: Typed = typed(graph.addInput("x", "float", [1, width]));
  for (let layer = 0; layer < layers; layer++) {
    const down = weight(`w${layer}.lora_A`, [width, rank], numbers(width * rank, 0.02));
    const up = weight(`w${layer}.lora_B`, [rank, width], new Float32Array(rank * width));
    const base = g.matMul(x, weight(`w${layer}`, [width, width], weights));
    x = g.relu(g.add(base, g.matMul(g.matMul(x, down), up)));
  }
  graph.rename(x, "y");
  graph.addOutput(x);
  const proto = graphToProto(graph, { irVersion: 8 });
  for (const value of [...(proto.graph?.input ?? []), ...(proto.graph?.output ?? [])]) {
    const dim = value.type?.tensorType?.shape?.dim?.[0];
    if (dim) Object.assign(dim, { dimValue: null, dimParam: "batch" });
  }
  let place = 0;
  for (const tensor of proto.graph?.initializer ?? []) {
    if (!/^w\d+$/.test(tensor.name ?? "")) continue;
    const entries = { location: data, offset: place * layerBytes, length: layerBytes };
    place += 1;
    tensor.rawData = new Uint8Array();
    tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    tensor.externalData = Object.entries(entries).map(
      ([key, value]) => new onnx.StringStringEntryProto({ key, value: `${value}` }),
    );
  }
  await mkdir(folder, { recursive: true });
  const handle = await open(join(folder, data), "w");
  for (let layer = 0; layer < layers; layer++) await handle.write(new Uint8Array(weights.buffer));
  await handle.close();
  const path = join(folder, "base.onnx");
  await writeFileSafely(path, Model.fromProto(proto).chunks, { force: true });
  return path;
}

/** Trains the adapters for some steps, in this process. */
async function train(path: string, rows: number, steps: number): Promise<object> {
  const model = await readModel(path);
  const messages: string[] = [];
  const begun = performance.now();
  const trainer = await Trainer.create(model, {
    ...{ objective: meanSquaredError(), batch: rows, trainable: /lora/, learningRate: 1e-4, threads: 2 },
    onMessage: (message) => messages.push(message),
  });
  const opened = performance.now();
  const x = Float32Array.from({ length: 2 * rows * width }, (_, i) => Math.sin(i));
  const samples = arrayDataset(x, new Float32Array(x.length), [width]);
  const losses: number[] = [];
  for await (const event of trainer.fit(samples, { epochs: steps, maxSteps: steps })) {
    if (event.event === "step") losses.push(event.loss);
  }
  const stepSeconds = (performance.now() - opened) / 1000 / steps;
  await trainer.release();
  return { openSeconds: (opened - begun) / 1000, stepSeconds, losses, messages };
}

/** Memory of a process in MiB. */
interface Memory {
  /** Pages of its own: heap, arenas, copies. */
  readonly anonymous: number;
  /** Pages of files that it has mapped and touched. */
  readonly mapped: number;
  readonly resident: number;
}

function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const mebibytes = (name: string) => Number(new RegExp(`${name}:\\s*(\\d+)`).exec(text)?.[1] ?? 0) / 1024;
  const [resident, anonymous] = [mebibytes("Rss"), mebibytes("Anonymous")];
  return { anonymous, resident, mapped: resident - anonymous };
}

/** Runs {@link train} in a process of its own. @returns its results, and the most of each kind of memory that it had */
async function measured(path: string, rows: number, steps: number): Promise<object> {
  const child = fork(fileURLToPath(import.meta.url), [], {
    env: { ...process.env, SORTH_BENCH_LARGE_BASE: JSON.stringify([path, rows, steps]) },
    execArgv: process.execArgv,
  });
  let first: Memory | undefined;
  const peak = { anonymous: 0, mapped: 0, resident: 0 };
  const timer = setInterval(() => {
    try {
      const now = memoryOf(child.pid as number);
      for (const kind of ["anonymous", "mapped", "resident"] as const)
        peak[kind] = Math.max(peak[kind], now[kind]);
    } catch {
      // The process has ended.
    }
  }, 50);
  child.on("message", (message) => {
    if (message === "loaded") first = memoryOf(child.pid as number);
  });
  let result = {};
  child.on("message", (message) => {
    if (typeof message === "object" && message) result = message;
  });
  await once(child, "exit");
  clearInterval(timer);
  return { ...result, start: first, peak };
}

async function main(): Promise<void> {
  const { values: flags } = scriptArguments(import.meta.url, {
    options: {
      layers: { type: "string", default: "48" },
      rows: { type: "string", default: "64" },
      steps: { type: "string", default: "10" },
      folder: { type: "string", default: "/tmp/large-base" },
      output: { type: "string" },
    },
  });
  const [layers, rows, steps] = [flags.layers, flags.rows, flags.steps].map(Number) as [
    number,
    number,
    number,
  ];
  const path = process.env.BASE ?? (await writeBase(flags.folder, layers));
  const fileMebibytes = (await stat(join(flags.folder, data))).size / 2 ** 20;
  const run = await measured(path, rows, steps);
  if (!process.env.KEEP) await rm(flags.folder, { recursive: true });
  const report = { machine: machineDescription(), layers, rows, steps, fileMebibytes, ...run };
  console.log(JSON.stringify(report, null, 2));
  if (!flags.output) return;
  await mkdir(dirname(flags.output), { recursive: true });
  await writeFile(flags.output, `${JSON.stringify(report, null, 2)}\n`);
}

const asked = process.env.SORTH_BENCH_LARGE_BASE;
if (asked) {
  process.send?.("loaded");
  process.send?.(await train(...(JSON.parse(asked) as [string, number, number])));
  process.disconnect?.();
} else await main();

/**
 * Memory of a LoRA run (rank 8, `addAdapters`) on a large frozen base: a stack of MatMuls of 4096 units with their numbers in one
 * external file. Another process reads, every 50 ms, how much of the run's memory is its own (anonymous) and how much are mapped
 * pages of the file, which the system may drop at any time.
 *
 * Run: npx tsx bench/large-base.ts [--layers 48] [--rows 64] [--steps 10] [--folder /tmp/large-base] [--keep] [--output bench/results/large-base.json]
 * The base takes 64 MiB a layer in the folder and is deleted afterwards, unless `--keep` is given.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { scriptArguments } from "../scripts/arguments.ts";
import { addAdapters, arrayDataset, readModel, Trainer } from "../src/index.ts";
import { meanSquaredError } from "../src/losses/public.ts";
import { baseData, writeBase } from "./frozen-base.ts";
import { commitDescription, machineDescription } from "./machine.ts";

const [width, rank] = [4096, 8];
/** The flag by which this script starts itself for {@link train}. */
const inChild = "--run";

/** Trains the adapters for some steps, in this process. */
async function train(path: string, rows: number, steps: number): Promise<object> {
  const model = await addAdapters(await readModel(path), { rank, alpha: rank, include: /./ });
  const messages: string[] = [];
  let estimatedMebibytes = Number.NaN;
  const begun = performance.now();
  const trainer = await Trainer.create(model, {
    ...{ objective: meanSquaredError(), batch: rows, learningRate: 1e-4, threads: 2, penalties: [] },
    onMessage: (message) => messages.push(message),
    onMemory: ({ added }) => {
      estimatedMebibytes = (process.memoryUsage.rss() + added) / 2 ** 20;
    },
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
  return {
    ...{ openSeconds: (opened - begun) / 1000, stepSeconds, estimatedMebibytes },
    ...{ losses, messages },
  };
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
  const child = fork(fileURLToPath(import.meta.url), [inChild, path, `${rows}`, `${steps}`], {
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
      keep: { type: "boolean" },
      output: { type: "string" },
    },
  });
  const [layers, rows, steps] = [flags.layers, flags.rows, flags.steps].map(Number) as [
    number,
    number,
    number,
  ];
  const path = await writeBase(flags.folder, { layers, width });
  const fileMebibytes = (await stat(join(flags.folder, baseData))).size / 2 ** 20;
  const run = await measured(path, rows, steps);
  if (!flags.keep) await rm(flags.folder, { recursive: true });
  const machine = machineDescription();
  const report = { machine, commit: commitDescription(), layers, rows, steps, fileMebibytes, ...run };
  console.log(JSON.stringify(report, null, 2));
  if (!flags.output) return;
  await mkdir(dirname(flags.output), { recursive: true });
  await writeFile(flags.output, `${JSON.stringify(report, null, 2)}\n`);
}

const [flag, path = "", rows, steps] = process.argv.slice(2);
if (flag === inChild) {
  process.send?.("loaded");
  process.send?.(await train(path, Number(rows), Number(steps)));
  process.disconnect?.();
} else await main();

/**
 * Time and peak memory of `inject` on a model of 1 GB, compared with copying the file. Every run is a separate process,
 * interleaved with the others. The copy is timed both without and with a sync to the disk, which writeModel does.
 *
 * Run: npm run build && npx tsx bench/inject.ts [--size 1024] [--rounds 3] [--folder /tmp] [--output bench/results/inject.json]
 * Needs three times the size in the folder and deletes everything afterwards.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, open, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { scriptArguments } from "../scripts/arguments.ts";
import { int } from "../src/graph/attribute.ts";
import { Emit } from "../src/graph/emit.ts";
import { Graph } from "../src/graph/graph.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { writeFileSafely, writeModel } from "../src/onnx/files-node.ts";
import { Model } from "../src/onnx/model.ts";
import { Tensor } from "../src/onnx/tensor.ts";
import { machineDescription } from "./machine.ts";
import { median } from "./statistics.ts";

/** The timed tasks, and writing the model, which also runs in a child process because a child inherits its parent's peak memory. */
const tasks = {
  write: (_from: string, to: string) => writeLargeModel(to, Number(process.env.SORTH_BENCH_SIZE)),
  copy: (from: string, to: string) => copyFile(from, to),
  "copy and sync": async (from: string, to: string) => {
    await copyFile(from, to);
    const handle = await open(to, "r+");
    await handle.sync();
    await handle.close();
  },
  inject: async (from: string, to: string) => {
    const { inject, readModel, som, writeModel } = await built();
    await writeModel(await inject(await readModel(from), { penalties: [som({ lambda1: 100 })] }), to);
  },
} satisfies Record<string, (from: string, to: string) => Promise<void>>;

/** The package as it is installed: from the sources, the time to compile modules that are loaded when needed would count. */
const built = (): Promise<typeof import("../src/index.ts")> =>
  import(new URL("../dist/node/index.js", import.meta.url).href);

type TaskName = keyof typeof tasks;

/** One run of a task in its own process. */
interface Run {
  readonly seconds: number;
  /** Peak resident memory in MiB. */
  readonly peak: number;
}

/** Writes a stack of Gemms with 4096 units (64 MiB each), up to the given size. */
async function writeLargeModel(path: string, mebibytes: number): Promise<void> {
  const width = 4096;
  const g = new Emit(new Graph("large", new Map([["", 17]])), { prefix: "" });
  let x = g.graph.addInput("x", "float", [1, width]);
  const numbers = Float32Array.from({ length: width * width }, (_, i) => ((i * 2654435761) % 1000) / 1e6);
  for (let layer = 0; layer < mebibytes / 64; layer++) {
    const weight = g.graph.addInitializer(Tensor.of(`w${layer}`, "float", [width, width], numbers));
    x = g.op("Gemm", [x, weight], [1, width], {
      type: "float",
      name: `fc${layer}`,
      attributes: { transB: int(1) },
    });
  }
  g.graph.addOutput(x);
  const proto = graphToProto(g.graph, { irVersion: 8 });
  for (const value of [...(proto.graph?.input ?? []), ...(proto.graph?.output ?? [])]) {
    const dim = value.type?.tensorType?.shape?.dim?.[0];
    if (dim) Object.assign(dim, { dimValue: null, dimParam: "batch" });
  }
  await writeModel(Model.fromProto(proto), path);
}

async function measured(task: TaskName, from: string, to: string): Promise<Run> {
  const child = fork(fileURLToPath(import.meta.url), ["--task", task, from, to], {
    execArgv: ["--import", "tsx"],
  });
  const [run] = await once(child, "message");
  await once(child, "exit");
  return run as Run;
}

/** Runs a task; called in the child process. */
async function perform(task: TaskName, from: string, to: string): Promise<Run> {
  await built();
  const start = performance.now();
  await tasks[task](from, to);
  const seconds = (performance.now() - start) / 1000;
  return { seconds, peak: process.resourceUsage().maxRSS / 1024 };
}

const round = (value: number): number => Number(value.toFixed(3));

const { values, positionals } = scriptArguments(import.meta.url, {
  allowPositionals: true,
  options: {
    size: { type: "string", default: "1024" },
    rounds: { type: "string", default: "3" },
    folder: { type: "string", default: tmpdir() },
    output: { type: "string" },
    task: { type: "string" },
  },
});

if (values.task !== undefined) {
  const [from = "", to = ""] = positionals;
  const run = await perform(values.task as TaskName, from, to);
  process.send?.(run);
  process.disconnect?.();
} else {
  const folder = await mkdtemp(join(values.folder, "sorth-bench-"));
  try {
    const source = join(folder, "large.onnx");
    process.env.SORTH_BENCH_SIZE = values.size;
    await measured("write", "", source);
    const names = ["copy", "copy and sync", "inject"] as const satisfies TaskName[];
    const runs = new Map<TaskName, Run[]>(names.map((name) => [name, []]));
    // The first round only fills the disk cache.
    for (let i = 0; i <= Number(values.rounds); i++) {
      for (const name of names) {
        const target = join(folder, "out.onnx");
        const run = await measured(name, source, target);
        await rm(target);
        if (i > 0) runs.get(name)?.push(run);
        console.error(`${i} ${name}: ${run.seconds.toFixed(2)} s, peak ${run.peak.toFixed(0)} MiB`);
      }
    }
    const all = (name: TaskName, key: keyof Run) => (runs.get(name) ?? []).map((run) => run[key]);
    const middle = (name: TaskName, key: keyof Run) => median(all(name, key));
    const best = (name: TaskName) => Math.min(...all(name, "seconds"));
    const mebibytes = (await stat(source)).size / 2 ** 20;
    const report = {
      date: new Date().toISOString().slice(0, 10),
      machine: machineDescription(),
      node: process.version,
      fileMebibytes: round(mebibytes),
      rounds: Number(values.rounds),
      ratios: {
        "inject / copy, median": round(middle("inject", "seconds") / middle("copy", "seconds")),
        "inject / copy, best": round(best("inject") / best("copy")),
        "inject / copy and sync, median": round(
          middle("inject", "seconds") / middle("copy and sync", "seconds"),
        ),
        "inject / copy and sync, best": round(best("inject") / best("copy and sync")),
        "peak memory / file": round(middle("inject", "peak") / mebibytes),
      },
      seconds: Object.fromEntries(names.map((name) => [name, all(name, "seconds").map(round)])),
      peakMebibytes: Object.fromEntries(names.map((name) => [name, Math.round(middle(name, "peak"))])),
    };
    console.log(JSON.stringify(report, null, 2));
    if (values.output !== undefined) {
      await mkdir(dirname(values.output), { recursive: true });
      await writeFileSafely(values.output, `${JSON.stringify(report, null, 2)}\n`, { force: true });
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * The estimate of a run's memory beside what Linux counts: `train` on each network in a process of its own, a few steps of random
 * data, with AdamW. The estimate is the line that `train` prints, the measurement the peak of the process's resident memory.
 *
 * Run: npx tsx bench/memory.ts [--steps 4] [--only NAME] [--folder /tmp] [--output bench/results/memory.json]
 * The networks of PyTorch need `npm run python`. Writes about 400 MB into the folder and deletes them.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { scriptArguments } from "../scripts/arguments.ts";
import { readModel } from "../src/index.ts";
import { writeBase } from "./frozen-base.ts";
import { commitDescription, machineDescription } from "./machine.ts";
import { exportNetwork } from "./networks.ts";

/** What is trained: a model's file and words of `train`. */
interface Case {
  readonly name: string;
  readonly model: (folder: string) => Promise<string> | string;
  /** [batch, …] of the input. */
  readonly input: readonly number[];
  /** Width of labels that are numbers; else ten classes. */
  readonly targets?: number;
  readonly words?: readonly string[];
}

const torch = (network: Parameters<typeof exportNetwork>[0]["network"], batch: number) => () =>
  join(exportNetwork({ network, batch }), "model.onnx");

const cases: readonly Case[] = [
  { name: "models/mlp.onnx, batch 64", model: () => "models/mlp.onnx", input: [64, 1, 28, 28] },
  { name: "models/cnn.onnx, batch 64", model: () => "models/cnn.onnx", input: [64, 1, 28, 28] },
  { name: "models/cnn.onnx, batch 1024", model: () => "models/cnn.onnx", input: [1024, 1, 28, 28] },
  { name: "models/pointnet.onnx, batch 256", model: () => "models/pointnet.onnx", input: [256, 3, 128] },
  { name: "ResNet-18, 64×64, batch 16", model: torch("resnet18", 16), input: [16, 3, 64, 64] },
  { name: "ResNet-18, 64×64, batch 64", model: torch("resnet18", 64), input: [64, 3, 64, 64] },
  {
    name: "ResNet-18, 64×64, batch 64, --recompute",
    ...{ model: torch("resnet18", 64), input: [64, 3, 64, 64], words: ["--recompute"] },
  },
  {
    name: "24 layers of 2048, trained whole (1.2 GB of state), batch 64",
    ...{ model: (folder) => writeBase(folder, { layers: 24, width: 2048 }), input: [64, 2048] },
    ...{ targets: 2048, words: ["--objective", "mse", "--penalty", "none"] },
  },
  {
    name: "LoRA on 24 frozen layers of 2048 (403 MB of external data), batch 64",
    ...{ model: (folder) => writeBase(folder, { layers: 24, width: 2048 }), input: [64, 2048] },
    ...{ targets: 2048, words: ["--lora", "rank=8,include=.", "--objective", "mse", "--penalty", "none"] },
  },
];

/** A file of arrays in NumPy's format. */
function npy(descr: string, shape: readonly number[], data: Float32Array | BigInt64Array): Uint8Array {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const header = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11, " ");
  const start = Uint8Array.of(
    0x93,
    ...Buffer.from("NUMPY"),
    1,
    0,
    (header.length + 1) & 255,
    (header.length + 1) >> 8,
  );
  return new Uint8Array(Buffer.concat([start, Buffer.from(`${header}\n`), new Uint8Array(data.buffer)]));
}

function samples({ input, targets }: Case, steps: number): Uint8Array {
  const [batch = 1, ...shape] = input;
  const count = batch * steps;
  const size = shape.reduce((product, dim) => product * dim, count);
  const x = Float32Array.from({ length: size }, (_, i) => Math.sin(i));
  const y =
    targets === undefined
      ? npy(
          "<i8",
          [count],
          BigInt64Array.from({ length: count }, (_, i) => BigInt(i % 10)),
        )
      : npy("<f4", [count, targets], new Float32Array(count * targets));
  return zipSync({ "x.npy": npy("<f4", [count, ...shape], x), "y.npy": y }, { level: 0 });
}

/** Trains in a process of its own. @returns the estimate that it prints, and the peak that Linux counts, in MB */
async function measure(
  one: Case,
  steps: number,
): Promise<{ readonly estimated: number; readonly peak: number }> {
  const folder = await mkdtemp(join(values.folder, "sorth-memory-"));
  try {
    const data = join(folder, "data.npz");
    await writeFile(data, samples(one, steps));
    const model = await one.model(folder);
    await readModel(model);
    const report = `process.on("exit", () => process.stderr.write("\\npeak " + process.resourceUsage().maxRSS + "\\n"))`;
    const words = [
      "--data",
      data,
      "--batch",
      `${one.input[0]}`,
      "--max-steps",
      `${steps}`,
      "--normalize",
      "none",
    ];
    const child = spawn(
      process.execPath,
      [
        ...["--import", "tsx", "--import", `data:text/javascript,${encodeURIComponent(report)}`],
        ...[
          "src/cli/main.ts",
          "train",
          model,
          ...words,
          ...(one.words ?? []),
          "-o",
          join(folder, "out.onnx"),
        ],
      ],
      { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, NO_COLOR: "1" } },
    );
    let text = "";
    child.stderr.on("data", (part) => {
      text += part;
    });
    const [code] = await once(child, "close");
    const [, number, unit] = /memory: about ([\d.]+) (MB|GB)/.exec(text) ?? [];
    if (code !== 0 || number === undefined) throw new Error(`${one.name}: ${text}`);
    const peak = (Number(/peak (\d+)/.exec(text)?.[1]) * 1024) / 1e6;
    return { estimated: Number(number) * (unit === "GB" ? 1000 : 1), peak: Math.round(peak) };
  } finally {
    await rm(folder, { recursive: true });
  }
}

const { values } = scriptArguments(import.meta.url, {
  options: {
    steps: { type: "string", default: "4" },
    only: { type: "string" },
    folder: { type: "string", default: tmpdir() },
    output: { type: "string" },
  },
});
const rows: object[] = [];
for (const one of cases.filter(({ name }) => values.only === undefined || name.includes(values.only))) {
  const { estimated, peak } = await measure(one, Number(values.steps));
  const row = { name: one.name, estimated, peak, ratio: +(estimated / peak).toFixed(2) };
  console.log(`| ${row.name} | ${row.estimated} | ${row.peak} | ${row.ratio} |`);
  rows.push(row);
}
if (values.output !== undefined) {
  const about = { machine: machineDescription(), commit: commitDescription(), unit: "MB" };
  await writeFile(values.output, `${JSON.stringify({ ...about, rows }, null, 2)}\n`);
}

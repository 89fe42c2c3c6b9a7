/**
 * A folder of many images: time to the first step, memory over one epoch, and the share of the time that steps wait for
 * samples. Makes the images (JPEG, 10 classes) if the folder holds none, and trains a small CNN in a process of its own.
 *
 * Run: npx tsx bench/image-folder.ts [--images 100000] [--size 64] [--batch 64] [--folder /tmp/sorth-many-images] [--output bench/results/image-folder.json]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { firstGenerator } from "../models/first-generator.ts";
import { ModelBuilder } from "../models/model-builder.ts";
import { scriptArguments } from "../scripts/arguments.ts";
import { writeFileSafely } from "../src/onnx/files-node.ts";
import { Model } from "../src/onnx/model.ts";
import { commitDescription, machineDescription, nodeVersions } from "./machine.ts";

const { values } = scriptArguments(import.meta.url, {
  options: {
    images: { type: "string", default: "100000" },
    size: { type: "string", default: "64" },
    batch: { type: "string", default: "64" },
    folder: { type: "string", default: join(tmpdir(), "sorth-many-images") },
    output: { type: "string" },
  },
});
const [images, side, batch] = [values.images, values.size, values.batch].map(Number) as [
  number,
  number,
  number,
];
const classes = 10;

/** Noise around a colour for each class. */
async function makeImages(folder: string): Promise<void> {
  for (let c = 0; c < classes; c++) await mkdir(join(folder, `class${c}`), { recursive: true });
  const pixels = new Uint8Array(side * side * 3);
  for (let i = 0; i < images; i++) {
    for (let k = 0; k < pixels.length; k++) {
      pixels[k] =
        40 * (((i % classes) * (1 + (k % 3))) % 5) +
        ((Math.imul(i + 1, 2654435761) + Math.imul(k, 40503)) >>> 26);
    }
    const jpeg = await sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
      .jpeg({ quality: 85 })
      .toBuffer();
    await writeFile(join(folder, `class${i % classes}`, `${i}.jpg`), jpeg);
  }
}

/** x [batch, 3, side, side] → logits [batch, 10]. */
function smallCnn(): Model {
  const m = new ModelBuilder("small", { input: "x", sample: [3, side, side], random: firstGenerator(3) });
  const first = m.relu("relu1", m.conv("conv1", m.input, 8, 3, { stride: 2, bias: true }));
  const second = m.relu("relu2", m.conv("conv2", first, 16, 3, { stride: 2, bias: true }));
  const third = m.relu("relu3", m.conv("conv3", second, 32, 3, { stride: 2, bias: true }));
  m.output(m.linear("logits", m.flatten("flatten", m.globalAveragePool("pool", third)), classes));
  return Model.fromProto(m.toProto());
}

/** Memory in MiB and processor time in seconds of a process. */
function usage(pid: number) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return {
    mebibytes: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024),
    processorSeconds: (Number(stat[11]) + Number(stat[12])) / 100,
  };
}

const own = await mkdtemp(join(tmpdir(), "sorth-image-folder-"));
try {
  if (!existsSync(values.folder) || (await readdir(values.folder)).length === 0)
    await makeImages(values.folder);
  await writeFileSafely(join(own, "model.onnx"), smallCnn().bytes);
  const child = spawn(
    process.execPath,
    [
      ...["--import", "tsx", "src/cli/main.ts", "train", join(own, "model.onnx"), "--data", values.folder],
      ...["--batch", `${batch}`, "--penalty", "none", "--no-report", "-o", join(own, "trained.onnx")],
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const record = join(own, "trained.run", "run.jsonl");
  const began = performance.now();
  const samples: { seconds: number; mebibytes: number; processorSeconds: number; stepping: boolean }[] = [];
  const timer = setInterval(() => {
    const seconds = (performance.now() - began) / 1000;
    samples.push({ seconds, ...usage(child.pid ?? 0), stepping: existsSync(record) });
  }, 500);
  const [code] = await once(child, "exit");
  clearInterval(timer);
  if (code !== 0) throw new Error(`training ended with code ${code}`);
  const events = readFileSync(record, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; epochSeconds?: number; waiting?: number });
  const epoch = events.find(({ event }) => event === "epoch");
  const steps = samples.filter(({ stepping }) => stepping);
  const memoryAt = (share: number) =>
    steps[Math.min(Math.floor(share * steps.length), steps.length - 1)]?.mebibytes;
  const report = {
    date: new Date().toISOString().slice(0, 10),
    commit: commitDescription(),
    machine: machineDescription(),
    ...nodeVersions(),
    images,
    side,
    batch,
    secondsToFirstStep: steps[0]?.seconds,
    processorSecondsToFirstStep: steps[0]?.processorSeconds,
    epochSeconds: epoch?.epochSeconds,
    processorSeconds: samples.at(-1)?.processorSeconds,
    waiting: epoch?.waiting,
    // After a tenth, a quarter, half and three quarters of the time of the steps.
    mebibytes: [0.1, 0.25, 0.5, 0.75].map(memoryAt),
  };
  console.log(JSON.stringify(report, null, 2));
  if (values.output !== undefined) {
    await writeFileSafely(values.output, `${JSON.stringify(report, null, 2)}\n`, { force: true });
  }
} finally {
  await rm(own, { recursive: true, force: true });
}

/**
 * Times a training step in Chromium on WebAssembly: this library, ONNX Runtime's last training release, and TensorFlow.js.
 * Each has its own page in the same browser; they take turns, round by round.
 *
 * npm run bench:browser                 writes bench/results/browser.json and the table in bench/README.md
 * npm run bench:browser -- --rounds 1   writes nothing
 *
 * Needs Chromium, a built dist/, and Python for the official artifacts; TensorFlow.js is installed into .cache/tensorflow.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type Page } from "playwright-core";
import { scriptArguments } from "../../scripts/arguments.ts";
import { pythonInterpreter } from "../../scripts/python-environment.ts";
import { decodeModel, encodeModel, inject, som } from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { chromiumFlags, findChromium, serve } from "../../test/browser/browser.ts";
import { median } from "../contender.ts";
import { mlp } from "../models.ts";
import { machineDescription, replaceSection } from "../step-report.ts";
import { type BrowserContender, contenders, type Job } from "./pages.ts";

const { values: flags } = scriptArguments(import.meta.url, {
  options: { rounds: { type: "string", default: "9" } },
});
const rounds = Number(flags.rounds);
/** Untimed and timed steps per round. During the untimed ones this library's runs grow to their full length. */
const [warmUp, timed] = [40, 40];
const [learningRate, penaltyWeight, tensorflowVersion] = [1e-3, 1, "4.22.0"];

declare function start(job: Job): Promise<void>;
declare function step(): Promise<number>;

const executablePath = findChromium();
if (!executablePath) throw new Error("no Chromium is installed (apt-get install chromium, or CHROMIUM_PATH)");
if (!existsSync("dist/web/index.js")) throw new Error("dist/ is not built (npm run build)");
installTensorFlow();
const model = mlp();
const jobs = { false: await jobOf(false), true: await jobOf(true) };
const servers = await Promise.all(contenders.map(({ page }) => serve(process.cwd(), page)));
const browser = await chromium.launch({ executablePath, args: chromiumFlags });
const expected = new Map<boolean, [number, number]>();
const times = new Map(contenders.map((contender) => [contender, [] as number[]]));
for (let round = 0; round < rounds; round++) {
  for (const [i, contender] of contenders.entries()) {
    const tab = await browser.newPage();
    tab.on("pageerror", (error) => console.error(`${contender.runtime}: ${error}`));
    await tab.goto(servers[i]?.url ?? "");
    const result = await stepsIn(tab, contender);
    times.get(contender)?.push(result.milliseconds);
    const loss = result.losses.map((value) => value.toFixed(6)).join(", ");
    console.error(
      `round ${round + 1}: ${titleOf(contender)}: ${result.milliseconds.toFixed(2)} ms, losses ${loss}`,
    );
    checkLosses(contender, result.losses);
    await tab.close();
  }
}
const version = browser.version();
await browser.close();
for (const server of servers) await server.close();
report();

/** Starts from scratch and returns the milliseconds per step over `timed` steps. */
async function stepsIn(tab: Page, { regularized }: BrowserContender) {
  await tab.waitForFunction("globalThis.start");
  return tab.evaluate(
    async ({ job, warmUp, timed }) => {
      await start(job);
      const losses: number[] = [];
      for (let i = 0; i < warmUp; i++) losses.push(await step());
      const began = performance.now();
      for (let i = 0; i < timed; i++) await step();
      return { losses: losses.slice(0, 2), milliseconds: (performance.now() - began) / timed };
    },
    { job: jobs[`${regularized}`], warmUp, timed },
  );
}

/** Checks the losses. The first is the same for all; later ones differ slightly, because the optimizers' epsilons do. */
function checkLosses(contender: BrowserContender, [first = Number.NaN, second = Number.NaN]: number[]): void {
  const own = expected.get(contender.regularized);
  if (!own) {
    expected.set(contender.regularized, [first, second]);
    return;
  }
  const firstOff = Math.abs(first / own[0] - 1);
  const secondOff = Math.abs(second / own[1] - 1);
  if (!(firstOff < 1e-4 && secondOff < 2e-2)) {
    throw new Error(`${titleOf(contender)}: losses ${first}, ${second} instead of ${own.join(", ")}`);
  }
}

function titleOf({ runtime, threads, regularized }: BrowserContender): string {
  return `${runtime}, ${threads} thread${threads > 1 ? "s" : ""}${regularized ? ", SOM" : ""}`;
}

/** Installs TensorFlow.js in an ignored folder, since only this benchmark needs it. */
function installTensorFlow(): void {
  const folder = ".cache/tensorflow";
  const manifest = join(folder, "node_modules/@tensorflow/tfjs/package.json");
  if (existsSync(manifest)) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), "{}");
  const packages = ["tfjs", "tfjs-backend-wasm"].map((name) => `@tensorflow/${name}@${tensorflowVersion}`);
  execFileSync("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", ...packages], {
    cwd: folder,
    stdio: "inherit",
  });
}

async function jobOf(regularized: boolean): Promise<Job> {
  const folder = mkdtempSync(join(tmpdir(), "sorth-bench-"));
  try {
    writeFileSync(join(folder, "model.onnx"), model.onnx);
    const script = "bench/browser/official_artifacts.py";
    execFileSync(pythonInterpreter("official-python"), [script, join(folder, "model.onnx"), folder], {
      stdio: "ignore",
    });
    const file = (name: string) => readFileSync(join(folder, name));
    const base64 = (bytes: Uint8Array) =>
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
    const penalties = [{ penalty: som(), weight: penaltyWeight }];
    const plain = file("training_model.onnx");
    const training = regularized ? encodeModel(await inject(decodeModel(plain), { penalties })) : plain;
    const weights = (decodeModel(model.onnx).proto.graph?.initializer ?? []).map((proto) => {
      const tensor = Tensor.fromProto(proto);
      return { dims: tensor.dims, data: base64(tensor.bytes) };
    });
    return {
      files: {
        model: base64(model.onnx),
        training: base64(training),
        optimizer: base64(file("optimizer_model.onnx")),
        checkpoint: base64(file("checkpoint")),
        weights: JSON.stringify(weights),
      },
      x: base64(model.x.bytes),
      labels: base64(new Uint8Array(model.labels.buffer)),
      ...{ batch: model.labels.length, features: 784, learningRate, penaltyWeight },
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Prints the table, and writes it if there were enough rounds. */
function report(): void {
  const figures = contenders.map((contender) => {
    const all = times.get(contender) ?? [];
    const { runtime, threads, regularized } = contender;
    return {
      ...{ runtime, threads, regularized, median: median(all), minimum: Math.min(...all), rounds: all },
    };
  });
  const cell = ({ runtime, threads }: { runtime: string; threads: number }, regularized: boolean) => {
    const find = (name: string, count: number) =>
      figures.find((one) => one.runtime === name && one.threads === count && one.regularized === regularized);
    const own = find("sorth-onnx", threads)?.median ?? Number.NaN;
    const { median: theirs = Number.NaN } = find(runtime, threads) ?? {};
    const ratio = runtime === "sorth-onnx" ? "" : ` (ours ÷ theirs ${(own / theirs).toFixed(2)})`;
    return `${theirs.toFixed(2)} ms${ratio}`;
  };
  const rows = figures
    .filter(({ regularized }) => !regularized)
    .map(
      (one) =>
        `| ${one.runtime}, ${one.threads} thread${one.threads > 1 ? "s" : ""} | ${cell(one, false)} | ${cell(one, true)} |`,
    );
  const date = new Date().toISOString();
  const table = [
    `Medians of a step, ${model.title}; ${date.slice(0, 10)}, ${machineDescription()}, Chromium ${version},`,
    `onnxruntime-web 1.30 in sorth-onnx, TensorFlow.js ${tensorflowVersion}.`,
    "",
    "| WebAssembly | plain | SOM |",
    "|---|---|---|",
    ...rows,
  ].join("\n");
  console.log(table);
  if (rounds < 5) return;
  const file = new URL("../results/browser.json", import.meta.url);
  writeFileSync(
    file,
    `${JSON.stringify({ date, machine: machineDescription(), chromium: version, figures }, undefined, 1)}\n`,
  );
  replaceSection(new URL("../README.md", import.meta.url), "browser", table);
}

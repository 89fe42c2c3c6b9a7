import { execFile, spawn } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readModel, writeModel } from "../../src/index.ts";
import { npz } from "../cli/npz.ts";
import { cli, temporaryFolder } from "../cli/run-cli.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { smallModel } from "./small-model.ts";

const python = process.env.SORTH_PYTHON ?? "";
const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const start = promisify(execFile);

interface Line {
  readonly event: string;
  readonly step: number;
  readonly loss: number;
  readonly validation?: { readonly loss: number; readonly accuracy: number };
  readonly stopped?: string;
  readonly kind?: string;
  readonly skipped?: boolean;
  readonly learningRate?: number;
}

/** The figures of a validation to six digits: losses of several processes differ in the last ones. */
const rounded = (figures: Line["validation"]): unknown =>
  figures &&
  JSON.parse(JSON.stringify(figures), (_, value) => (typeof value === "number" ? +value.toFixed(5) : value));

const floats = (bytes: Uint8Array | null | undefined): number[] =>
  Array.from(new Float32Array((bytes ?? new Uint8Array()).slice().buffer));

/** Samples with three yes-or-no labels, or three numbers. */
function rowsOf(kind: "yes" | "numbers"): Uint8Array {
  const x = Float32Array.from({ length: 96 * 6 }, (_, i) => ((i * 37) % 97) / 97);
  const y = Float32Array.from({ length: 96 * 3 }, (_, i) => ((i * 29) % 53) / 53);
  const labels = kind === "yes" ? y.map((value) => Number(value > 0.6)) : y;
  return zipSync({
    "x.npy": npyBytes({ descr: "<f4", shape: [96, 6], data: x }),
    "y.npy": npyBytes({ descr: "<f4", shape: [96, 3], data: labels }),
  });
}
const lines = (run: string): Line[] =>
  readFileSync(at(`${run}/run.jsonl`), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
const losses = (...runs: string[]) =>
  runs.flatMap((run) => lines(run).flatMap(({ event, loss }) => (event === "step" ? [loss] : [])));

/** Runs a distributed run: in one process, or several under torchrun. */
async function runPython(dir: string, processes: number, ...flags: string[]): Promise<string> {
  const torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", `${processes}`];
  const words = [at(`${dir}/run.py`), "--quiet", ...flags];
  const { stdout } = await start(python, [...(processes === 1 ? [] : torchrun), ...words], {
    cwd: folder.path,
  });
  return stdout;
}

async function sorth(...argv: string[]): Promise<void> {
  const { code, stderr } = await cli(...argv);
  expect({ code, errors: stderr.match(/.*error.*/) }).toEqual({ code: 0, errors: null });
}

function expectNear(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  expect(actual).toHaveLength(expected.length);
  expect(Math.max(...actual.map((value, i) => Math.abs(value - (expected[i] ?? 0))))).toBeLessThan(tolerance);
}

/** A port of this machine that nothing listens to. */
const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" ? (address?.port ?? 0) : 0));
    });
  });

const data = ["--data", at("data.npz")];

beforeAll(async () => {
  await writeModel(smallModel(), at("model.onnx"));
  writeFileSync(
    at("data.npz"),
    npz(96, [6], (index) => (index * 5 + Math.floor(index / 7)) % 3),
  );
});
afterAll(() => folder.remove());

describe("processes that train together", () => {
  skipWithout(python === "" ? "no Python with onnxruntime and torch was named (SORTH_PYTHON)" : "");

  it.each([
    { name: "adamw", flags: ["--lr", "0.01", "--penalty", "none"], several: [2, 4], how: [] },
    { name: "exact", flags: ["--lr", "0.01", "--penalty", "som"], several: [2, 4], how: [] },
    {
      name: "sgd",
      flags: [
        ...[
          "--penalty",
          "none",
          "--optimizer",
          "sgd",
          "--momentum",
          "0.9",
          "--lr",
          "0.05",
          "--schedule",
          "cosine:warmup=3",
        ],
        ...["--clip-norm", "0.5", "--group", "fc2:lr=0.02", "--ema", "0.9"],
      ],
      several: [2],
      how: ["--shard-optimizer"],
    },
    {
      name: "half",
      flags: ["--penalty", "none", "--precision", "mixed-bfloat16", "--ema", "0.9", "--accumulate", "2"],
      several: [],
      how: [],
    },
  ])(
    "equal one process and the joint batch of train: $name",
    async ({ name, flags, several, how }) => {
      const all = ["--batch", "16", "--max-steps", "20", "--epochs", "4", ...flags];
      const run = [...all, "--validation", "0.2"];
      await sorth(
        "train",
        at("model.onnx"),
        ...data,
        ...run,
        "-o",
        at(`${name}.onnx`),
        "--no-report",
        "--quiet",
      );
      const exact = name === "exact" ? ["--exact"] : [];
      await sorth(
        "distribute",
        at("model.onnx"),
        ...run,
        ...exact,
        "-o",
        at(name),
        "--workers",
        "4",
        "--quiet",
      );
      const expected = lines(`${name}.run`);
      for (const processes of [1, ...several]) {
        const own = `${name}-${processes}`;
        await runPython(name, processes, ...data, "--checkpoint", own, "-o", `${own}.onnx`, ...how);
        const actual = lines(own);
        // Half precision rounds sums of other lengths differently.
        const tolerance = name === "half" ? 1e-3 : 1e-5;
        expectNear(losses(own), losses(`${name}.run`), tolerance);
        expect(actual.map(({ event, step }) => `${event} ${step}`)).toEqual(
          expected.map(({ event, step }) => `${event} ${step}`),
        );
        const figures = (all: Line[]) =>
          all.flatMap(({ validation }) => (validation ? [validation.loss] : []));
        expectNear(figures(actual), figures(expected), tolerance);
        const keys = (all: Line[]) => all.map((line) => Object.keys(line).sort().join());
        expect(new Set(keys(actual))).toEqual(new Set(keys(expected)));
        const [mine, theirs] = [await readModel(at(`${own}.onnx`)), await readModel(at(`${name}.onnx`))];
        expect(mine.proto.graph?.node).toEqual(theirs.proto.graph?.node);
      }
    },
    300_000,
  );

  it("a run goes from train to workers and back", async () => {
    const run = [
      "--batch",
      "16",
      "--penalty",
      "none",
      "--lr",
      "0.01",
      "--epochs",
      "4",
      "--no-report",
      "--quiet",
    ];
    await sorth("train", at("model.onnx"), ...data, ...run, "-o", at("whole.onnx"));
    await sorth("train", at("model.onnx"), ...data, ...run, "--max-steps", "5", "-o", at("first.onnx"));
    await sorth("distribute", "--resume", at("first.run"), "-o", at("middle"), "--workers", "2", "--quiet");
    await runPython("middle", 1, ...data, "--checkpoint", "second.run", "--max-steps", "13");
    await sorth(
      "train",
      "--resume",
      at("second.run"),
      "--epochs",
      "4",
      "-o",
      at("third.onnx"),
      "--no-report",
      "--quiet",
    );
    expectNear(losses("first.run", "second.run"), losses("whole.run"), 1e-5);
    const further = ["--epochs", "5", "--max-steps"];
    // A killed process leaves half a line.
    appendFileSync(at("second.run/run.jsonl"), '{"event":"st');
    await runPython("middle", 1, ...data, "--resume", "second.run", ...further, "26");
    const [half, next] = readFileSync(at("second.run/run.jsonl"), "utf8").split("\n").slice(-5);
    expect([half, JSON.parse(next ?? "").step]).toEqual(['{"event":"st', 25]);
    const rate = [...run, "--lr", "0.02"];
    await sorth("train", at("model.onnx"), ...data, ...rate, "-o", at("rate.onnx"));
    const refusal = (...flags: string[]) =>
      runPython("middle", 1, ...data, ...flags).catch((reason: { stderr: string }) => reason.stderr);
    expect(await refusal("--resume", "rate.run")).toMatch(
      /^error: .* with other options \(learningRate\).*\n$/,
    );
    const other = await refusal("--resume", "second.run", "--validation", "0.5", ...further, "28");
    expect(other).toMatch(
      /^error: the run was begun with a share of 0 held out .* not with a share of 0.5.*\n$/,
    );
    const lost = await refusal("--data", "nothing.npz", "--checkpoint", "second.run", "--force");
    expect(lost).toContain("nothing.npz");
    expect(existsSync(at("second.run/last.safetensors"))).toBe(true);
  }, 120_000);

  it.each([
    { name: "mixed-float16", flags: ["--penalty", "none"] },
    { name: "mixed-float16", flags: ["--exact"] },
    { name: "mixed-bfloat16", flags: ["--exact"] },
  ])(
    "all processes leave out the same updates: $name $flags",
    async ({ name, flags }) => {
      const run = [
        "--batch",
        "16",
        "--epochs",
        "4",
        "--max-steps",
        "20",
        "--lr",
        "0.01",
        "--precision",
        name,
      ];
      const plain = flags.filter((flag) => flag !== "--exact");
      await sorth(
        "train",
        at("model.onnx"),
        ...data,
        ...run,
        ...plain,
        "-o",
        at("scaled.onnx"),
        "--no-report",
        "--quiet",
        "--force",
      );
      const share = ["-o", at("scaled"), "--workers", "2", "--quiet", "--force"];
      const isExact = flags.includes("--exact");
      await sorth("distribute", at("model.onnx"), ...run, ...flags, ...share);
      for (const processes of [1, 2]) {
        const how = processes === 2 ? ["--shard-optimizer"] : [];
        await runPython(
          "scaled",
          processes,
          ...data,
          "--checkpoint",
          `scaled-${processes}`,
          "--force",
          ...how,
        );
      }
      const skips = (path: string) => lines(path).map(({ step, skipped }) => `${step} ${skipped}`);
      expect(skips("scaled-1")).toEqual(skips("scaled-2"));
      expectNear(losses("scaled-1"), losses("scaled-2"), 1e-6);
      const first = skips("scaled-1").filter((text) => text.endsWith("true"));
      expect(first.length).toBe(name === "mixed-float16" ? (isExact ? 2 : 1) : 0);
      const same = name === "mixed-float16" ? 4 : 20;
      expectNear(losses("scaled-1").slice(0, same), losses("scaled.run").slice(0, same), 1e-3);
    },
    120_000,
  );

  const labels = ["yes", "numbers"] as const;
  const tops = "accuracy,top2,precision,recall,f1,auc,confusion";
  it.each([
    { name: "classes", flags: ["--metrics", tops, "--monitor", "f1", "--early-stop", "2", "--keep", "2"] },
    { name: "yes", flags: ["--objective", "bce:positive-weight=2", "--metrics", "accuracy,f1,auc"] },
    {
      name: "numbers",
      flags: [
        "--objective",
        "huber:delta=0.5",
        "--metrics",
        "r2,mae,rmse,mse",
        "--keep",
        "1",
        "--schedule",
        "plateau:monitor=r2,patience=0,threshold=0.5",
      ],
    },
  ])("validate, keep and stop as train does: $name", async ({ name, flags }) => {
    for (const kind of labels) writeFileSync(at(`${kind}.npz`), rowsOf(kind));
    const from = name === "classes" ? data : ["--data", at(`${name}.npz`)];
    const plan = [
      "--batch",
      "16",
      "--epochs",
      "8",
      "--penalty",
      "none",
      "--lr",
      "0.03",
      "--validation",
      "0.25",
    ];
    const [trained, model] = [`${name}-train`, at(`${name}-train.onnx`)];
    const quiet = ["--no-report", "--quiet"];
    await sorth("train", at("model.onnx"), ...from, ...plan, ...flags, "-o", model, ...quiet);
    const share = ["-o", at(`${name}-dir`), "--workers", "2", "--quiet"];
    await sorth("distribute", at("model.onnx"), ...plan, ...flags, ...share);
    const figures = (run: string) =>
      lines(run).flatMap(({ event, step, validation, stopped, kind, learningRate }) =>
        event === "step"
          ? []
          : [{ event, step, stopped, kind, learningRate, validation: rounded(validation) }],
      );
    for (const processes of name === "classes" ? [1, 2] : [1]) {
      const own = `${name}-run-${processes}`;
      await runPython(`${name}-dir`, processes, ...from, "--checkpoint", own, "-o", `${own}.onnx`);
      expect(figures(own)).toEqual(figures(`${trained}.run`));
      const files = (run: string) => readdirSync(at(run)).filter((file) => file.endsWith(".safetensors"));
      expect(files(own)).toEqual(files(`${trained}.run`));
      const weight = async (path: string) => (await readModel(path)).proto.graph?.initializer?.[0]?.rawData;
      const [mine, theirs] = [await weight(at(`${own}.onnx`)), await weight(model)];
      expectNear(floats(mine), floats(theirs), 1e-5);
    }
  });

  it("a worker that dies starts the run again from its last checkpoint, with the same end", async () => {
    const run = ["--batch", "16", "--penalty", "none", "--lr", "0.01", "--epochs", "3"];
    await sorth("distribute", at("model.onnx"), ...run, "-o", at("killed"), "--workers", "2", "--quiet");
    const wrapper = at("dies.py");
    writeFileSync(
      wrapper,
      [
        "import os, signal, sys",
        `sys.path.insert(0, ${JSON.stringify(at("killed"))})`,
        "from pathlib import Path",
        "from sorth_distributed import worker, command",
        "step = worker.Worker.step",
        "def dying(self, *args):",
        "    first = os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'",
        "    if first and self.reducer.rank == 1 and self.position.step == 10: os.kill(os.getpid(), signal.SIGKILL)",
        "    return step(self, *args)",
        "worker.Worker.step = dying",
        `sys.exit(command.main(Path(${JSON.stringify(at("killed"))})))`,
      ].join("\n"),
    );
    const flags = ["--quiet", ...data, "--checkpoint", "again.run"];
    const torchrun = [
      "-m",
      "torch.distributed.run",
      "--standalone",
      "--nproc-per-node",
      "2",
      "--max-restarts",
      "1",
    ];
    await start(python, [...torchrun, wrapper, ...flags], { cwd: dirname(wrapper) });
    await runPython("killed", 1, ...data, "--checkpoint", "whole-run");
    expectNear(losses("again.run"), losses("whole-run"), 1e-6);
  }, 300_000);

  it("a machine that is lost leaves the run to the other, with the same end", async () => {
    const run = ["--batch", "16", "--penalty", "none", "--lr", "0.01", "--epochs", "12"];
    await sorth("distribute", at("model.onnx"), ...run, "-o", at("lost"), "--workers", "2", "--quiet");
    writeFileSync(
      at("slow.py"),
      [
        "import os, sys, time",
        `sys.path.insert(0, ${JSON.stringify(at("lost"))})`,
        "from pathlib import Path",
        "from sorth_distributed import worker, command",
        "Path(os.environ['AGENT'] + '.pid').write_text(str(os.getpid()))",
        "step = worker.Worker.step",
        "def slow(self, *words):",
        "    time.sleep(0.1 if self.reducer.size > 1 else 0)",
        "    return step(self, *words)",
        "worker.Worker.step = slow",
        `sys.exit(command.main(Path(${JSON.stringify(at("lost"))})))`,
      ].join("\n"),
    );
    const port = await freePort();
    const agent = (name: string, host: number) => {
      const rendezvous = [
        "--rdzv-backend",
        "c10d",
        "--rdzv-id",
        "lost",
        "--rdzv-endpoint",
        `localhost:${port}`,
      ];
      const wait = ["--rdzv-conf", `last_call_timeout=2,is_host=${host}`];
      const nodes = ["--nnodes", "1:2", "--nproc-per-node", "1", "--max-restarts", "2"];
      const words = ["-m", "torch.distributed.run", ...nodes, ...rendezvous, ...wait, "slow.py"];
      const env = { ...process.env, AGENT: name, OMP_NUM_THREADS: "1" };
      const flags = [...data, "--quiet", "--checkpoint", "lost.run"];
      return spawn(python, [...words, ...flags], { cwd: folder.path, env, stdio: "ignore" });
    };
    const stays = agent("stays", 1);
    const ended = new Promise((resolve) => stays.on("exit", resolve));
    const goes = agent("goes", 0);
    const twoEpochs = () => existsSync(at("lost.run/run.jsonl")) && lines("lost.run").length > 14;
    await expect.poll(twoEpochs, { timeout: 120_000, interval: 100 }).toBe(true);
    for (const pid of [goes.pid, Number(readFileSync(at("goes.pid"), "utf8"))])
      process.kill(pid ?? 0, "SIGKILL");
    expect(await ended).toBe(0);
    await runPython("lost", 1, ...data, "--checkpoint", "lost-whole");
    expect(losses("lost.run")).toHaveLength(72);
    expectNear(losses("lost.run"), losses("lost-whole"), 1e-6);
  }, 300_000);

  it("a table is read as train reads it", async () => {
    const row = (i: number) =>
      `${(i * 37) % 11},${i % 4 ? ["red", "blue", "green"][i % 3] : ""},${(i * 0.37) % 1},${i % 3 ? "yes" : "no"}`;
    const rows = Array.from({ length: 64 }, (_, i) => row(i));
    writeFileSync(
      at("table.csv"),
      ["a,color,c,b,label", ...rows.map((text, i) => text.replace(/,(?=[^,]*$)/, `,${i % 5},`))].join("\n"),
    );
    const run = ["--batch", "16", "--penalty", "none", "--epochs", "2", "--standardize", "--missing", "mean"];
    await sorth(
      "train",
      at("model.onnx"),
      "--data",
      at("table.csv"),
      ...run,
      "-o",
      at("rows.onnx"),
      "--no-report",
      "--quiet",
    );
    await sorth(
      "distribute",
      at("model.onnx"),
      "--data",
      at("table.csv"),
      ...run,
      "-o",
      at("rows"),
      "--workers",
      "2",
      "--quiet",
    );
    await runPython("rows", 1, "--data", at("table.csv"), "--checkpoint", "rows-1");
    expectNear(losses("rows-1"), losses("rows.run"), 1e-5);
  }, 60_000);

  const [images, texts] = ["test/fixtures/data", "test/fixtures/text"];
  const pieces = ["--tokenizer", `${texts}/word-pieces`, "--length", "8"];
  it.each([
    { name: "images", model: `${images}/image.onnx`, source: `${images}/pictures`, flags: ["--batch", "6"] },
    { name: "texts", model: `${texts}/classifier.onnx`, source: `${texts}/reviews.csv`, flags: pieces },
    {
      ...{ name: "tokens", model: "models/decoder.onnx", source: `${texts}/story.txt` },
      flags: [...pieces, "--objective", "causal-lm"],
    },
  ])("$name are converted once, go to workers and back", async ({ name, model, source, flags }) => {
    const from = [model, "--data", source, "--batch", "4", ...flags];
    const run = ["--penalty", "none", "--lr", "0.003", "--epochs", "8", "--max-steps", "20"];
    const held = name === "images" ? [] : ["--validation", "0.25"];
    const quiet = ["--no-report", "--quiet"];
    await sorth("train", ...from, ...run, ...held, "-o", at(`${name}.onnx`), ...quiet);
    await sorth("distribute", ...from, ...run, ...held, "-o", at(name), "--workers", "2", "--quiet");
    await runPython(name, 1, "--checkpoint", `${name}-1`, "-o", `${name}-1.onnx`);
    expectNear(losses(`${name}-1`), losses(`${name}.run`), 1e-5);
    const last = (path: string) => lines(path).at(-1)?.validation?.loss ?? Number.NaN;
    expect(last(`${name}-1`)).toBeCloseTo(last(`${name}.run`), 5);
    const on = ["--epochs", "12", "--max-steps", "22", "--no-report", "--quiet", "--force"];
    await sorth("train", "--resume", at(`${name}-1`), ...on, "-o", at(`${name}-2.onnx`));
    expect(losses(`${name}-1`)).toHaveLength(22);
  });

  it.each([
    { flags: ["--data", "nothing.npz"], says: "nothing.npz" },
    { flags: [...data, "--max-steps", "0"], says: "--max-steps must be a whole number of 1 or more" },
    { flags: [...data, "-o", "no-folder/x.onnx"], says: "does not exist; create it first" },
    { flags: ["--data", "idx"], says: "cannot be read as an IDX file" },
    {
      flags: [...data],
      how: ["--normalize", "0..1"],
      says: "the run divides pixels by 255, but x holds numbers",
    },
  ])(
    "refuses $flags in one line",
    async ({ flags, says, how = [] }) => {
      mkdirSync(at("idx"), { recursive: true });
      writeFileSync(at("idx/train-images-idx3-ubyte"), Uint8Array.of(0, 0, 8, 3, 0, 0));
      const plain = ["--batch", "8", "-o", at("plain"), "--quiet", "--force"];
      await sorth("distribute", at("model.onnx"), ...plain, ...how);
      const error = await runPython("plain", 1, ...flags).catch(
        (reason: { stderr: string }) => reason.stderr,
      );
      expect(error).toContain(says);
      expect(error.trim().split("\n")).toHaveLength(1);
    },
    60_000,
  );
});

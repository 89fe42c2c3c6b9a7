/**
 * The savings and costs of `recompute`: peak memory and time of a training step of a stack of feed-forward blocks (Gelu in
 * single operators), with and without it. Runs alternate, each in a separate process.
 *
 * Run: npx tsx bench/recompute.ts [--rounds 3] [--output bench/results/recompute.json]
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { scriptArguments } from "../scripts/arguments.ts";
import { Emit } from "../src/graph/emit.ts";
import type { Typed } from "../src/graph/emit-base.ts";
import { Graph } from "../src/graph/graph.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { crossEntropy } from "../src/losses/cross-entropy.ts";
import { Model } from "../src/onnx/model.ts";
import { Tensor } from "../src/onnx/tensor.ts";
import { sgd } from "../src/optimizers/sgd.ts";
import { buildStep } from "../src/programs/step.ts";
import { cpuBackend } from "../src/runtime/cpu-node.ts";
import { nodeProbe } from "../src/runtime/probe-node.ts";
import { machineDescription } from "./machine.ts";
import { median } from "./statistics.ts";

const [batch, width, blocks, steps] = [4096, 256, 12, 6];

/** One run: a few steps in this process. */
interface Run {
  readonly milliseconds: number;
  /** Peak resident memory of the process in MiB. */
  readonly peak: number;
  readonly loss: number;
  readonly message: string;
}

function network(): Model {
  const graph = new Graph("blocks", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "layer/" });
  const weight = (name: string, dims: readonly number[]) => {
    const size = dims.reduce((a, b) => a * b, 1);
    const numbers = Float32Array.from({ length: size }, (_, i) => (((i * 2654435761) % 1000) - 500) / 20000);
    return graph.addInitializer(Tensor.float(name, dims, numbers)) as Typed;
  };
  let x = graph.addInput("x", "float", [batch, width]) as Typed;
  for (let block = 0; block < blocks; block++) {
    const inner = g.add(
      g.matMul(x, weight(`${block}.weight`, [width, width])),
      weight(`${block}.bias`, [width]),
    );
    x = g.add(x, g.mul(g.mul(inner, 0.5), g.add(g.erf(g.div(inner, Math.SQRT2)), 1)));
  }
  graph.addOutput(g.matMul(x, weight("head.weight", [width, 10])));
  return Model.fromProto(graphToProto(graph, { irVersion: 9 }));
}

async function measure(recompute: boolean): Promise<Run> {
  let message = "";
  const step = await buildStep(
    network(),
    { objective: crossEntropy(), optimizer: sgd(), recompute, onMessage: (text) => (message = text) },
    nodeProbe,
  );
  const session = await cpuBackend.openStep(step, { threads: 2 });
  const { scalars, labels } = step.ports;
  const x = Float32Array.from({ length: batch * width }, (_, i) => Math.sin(i));
  const classes = Int32Array.from({ length: batch }, (_, i) => i % 10);
  const times: number[] = [];
  let loss = 0;
  for (let i = 1; i <= steps; i++) {
    const start = performance.now();
    const [result] = await session.run(
      new Map([
        ["x", Tensor.float("x", [batch, width], x)],
        [labels?.name ?? "", Tensor.of("labels", "int32", [batch], classes)],
        [scalars.learningRate, Tensor.float("rate", [], [0.1])],
        [scalars.step, Tensor.float("step", [], [i])],
      ]),
    );
    times.push(performance.now() - start);
    loss = result?.loss ?? Number.NaN;
  }
  const peak = process.resourceUsage().maxRSS / 1024;
  return { milliseconds: median(times.slice(1)), peak, loss, message };
}

async function main(): Promise<void> {
  const { values: flags } = scriptArguments(import.meta.url, {
    options: { rounds: { type: "string", default: "3" }, output: { type: "string" } },
  });
  const runs: Record<string, Run[]> = { kept: [], recomputed: [] };
  for (let round = 0; round < Number(flags.rounds); round++) {
    for (const [name, list] of Object.entries(runs)) {
      const child = fork(fileURLToPath(import.meta.url), [], {
        env: { ...process.env, SORTH_BENCH_RECOMPUTE: name },
        execArgv: process.execArgv,
      });
      const [run] = (await once(child, "message")) as [Run];
      list.push(run);
    }
  }
  const summary = Object.fromEntries(
    Object.entries(runs).map(([name, list]) => [
      name,
      {
        stepMilliseconds: median(list.map(({ milliseconds }) => milliseconds)),
        peakMebibytes: median(list.map(({ peak }) => peak)),
        loss: list[0]?.loss,
        message: list[0]?.message || undefined,
      },
    ]),
  );
  const report = { machine: machineDescription(), batch, width, blocks, ...summary };
  console.log(JSON.stringify(report, null, 2));
  if (flags.output) {
    await mkdir(dirname(flags.output), { recursive: true });
    await writeFile(flags.output, `${JSON.stringify(report, null, 2)}\n`);
  }
}

const mode = process.env.SORTH_BENCH_RECOMPUTE;
if (mode) process.send?.(await measure(mode === "recomputed"));
else await main();

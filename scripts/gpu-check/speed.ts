import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Contender } from "../../bench/contender.ts";
import { Host, hosted } from "../../bench/host.ts";
import { type BenchmarkModel, cnn, mlp } from "../../bench/models.ts";
import { ownContender } from "../../bench/own-step.ts";
import { median } from "../../bench/statistics.ts";
import { messageOf } from "../../src/errors.ts";
import { markdownTable } from "./markdown.ts";

/** The amount of timing. */
export interface Timing {
  readonly rounds: number;
  /** Steps per round. */
  readonly steps: number;
}

/** Steps per second of two networks on a backend, on CUDA next to PyTorch eager and torch.compile, in Markdown. */
export async function timeSteps(backend: string, torch: boolean, { rounds, steps }: Timing): Promise<string> {
  const remarks: string[] = [];
  const peer = torch ? await torchOnCuda(remarks) : undefined;
  const folder = mkdtempSync(join(tmpdir(), "sorth-gpu-check-"));
  const rows: string[][] = [];
  try {
    for (const model of [mlp(), cnn()]) {
      for (const regularized of [false, true]) {
        const options = { model: () => model, regularized, threads: 2 };
        const contenders: Contender[] = [ownContender(options, backend, model.name)];
        if (peer) contenders.push(...torchContenders(peer, model, regularized, folder));
        const times = new Map<Contender, number[]>(contenders.map((one) => [one, []]));
        for (const contender of contenders) await contender.start(3);
        for (let round = 0; round < rounds; round++) {
          for (const contender of contenders) {
            times.get(contender)?.push(await contender.run(steps));
          }
        }
        for (const contender of contenders) await contender.close();
        const middle = contenders.map((one) => median(times.get(one) ?? []));
        const rate = (i: number) =>
          middle[i] === undefined ? "–" : `${(1000 / middle[i]).toPrecision(3)} steps/s`;
        rows.push([model.title, regularized ? "SOM" : "plain", rate(0), rate(1), rate(2)]);
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
    peer?.close();
  }
  const headings = ["network", "loss", `sorth-onnx on ${backend}`, "PyTorch eager", "torch.compile"];
  return [`Speed (medians of ${rounds} rounds in turns):`, markdownTable(headings, rows), ...remarks].join(
    "\n\n",
  );
}

/** PyTorch eager and torch.compile with the model's weights and data, which they read from files in the folder. */
function torchContenders(
  peer: Host,
  { name, onnx, x, labels }: BenchmarkModel,
  regularized: boolean,
  folder: string,
): Contender[] {
  const files = { weights: join(folder, "model.onnx"), x: join(folder, "x"), labels: join(folder, "labels") };
  writeFileSync(files.weights, onnx);
  writeFileSync(files.x, x.bytes);
  writeFileSync(files.labels, labels);
  return [false, true].map((compile) =>
    hosted(peer, {
      ...{ runtime: compile ? "torch.compile" : "PyTorch eager", network: name, regularized },
      command: { ...files, batch: labels.length, size: {}, compile, fused: false },
      alone: false,
    }),
  );
}

async function torchOnCuda(remarks: string[]): Promise<Host | undefined> {
  try {
    const peer = Host.torch(2, "cuda");
    const { torch, device } = await peer.ask<{ torch: string; device: string }>({ do: "about" });
    remarks.push(`PyTorch ${torch} on ${device}.`);
    return peer;
  } catch (error) {
    remarks.push(`PyTorch was not timed: ${messageOf(error)}`);
    return undefined;
  }
}

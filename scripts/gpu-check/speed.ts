import { type Contender, median } from "../../bench/contender.ts";
import { cnn, mlp } from "../../bench/models.ts";
import { ownContender } from "../../bench/own-step.ts";
import { TorchPeer } from "../../bench/torch-peer.ts";
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
  const rows: string[][] = [];
  for (const model of [mlp(), cnn()]) {
    for (const regularized of [false, true]) {
      const options = { model, regularized, threads: 2 };
      const contenders: Contender[] = [await ownContender(options, backend)];
      if (peer) contenders.push(peer.contender(options, false), peer.contender(options, true));
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
  peer?.close();
  const headings = ["network", "loss", `sorth-onnx on ${backend}`, "PyTorch eager", "torch.compile"];
  return [`Speed (medians of ${rounds} rounds in turns):`, markdownTable(headings, rows), ...remarks].join(
    "\n\n",
  );
}

async function torchOnCuda(remarks: string[]): Promise<TorchPeer | undefined> {
  try {
    const peer = new TorchPeer(2, "cuda");
    const { torch, device } = await peer.about();
    remarks.push(`PyTorch ${torch} on ${device}.`);
    return peer;
  } catch (error) {
    remarks.push(`PyTorch was not timed: ${messageOf(error)}`);
    return undefined;
  }
}

// Trains in several threads at once. Prints the losses of each and of the main thread, then ends a run and its thread.
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { arrayDataset, crossEntropy, readModel, Trainer } from "../../src/index.ts";

const labels = Int32Array.from({ length: 64 }, (_, i) => i % 10);
const pixels = Float32Array.from({ length: 64 * 784 }, (_, i) =>
  Math.sin(i * (1 + (Math.floor(i / 784) % 10))),
);

async function losses(
  seed: number,
  signal?: AbortSignal,
  going: () => void = () => {},
): Promise<(number | string)[]> {
  const model = await readModel("models/mlp.onnx");
  const options = { objective: crossEntropy(), batch: 16, seed, threads: 1 };
  const trainer = await Trainer.create(model, options);
  const found: (number | string)[] = [];
  const fit = { epochs: signal ? 10_000 : 2, ...(signal && { signal }) };
  for await (const event of trainer.fit(arrayDataset(pixels, labels, [1, 28, 28]), fit)) {
    if (event.event === "epoch" && !signal) found.push(event.loss);
    if (event.event === "end" && event.stopped) found.push(event.stopped);
    going();
  }
  await trainer.release();
  return found;
}

/** What a thread answers. @param asked - a seed, or "stop" for a run that is stopped */
function answerOf(asked: number | "stop"): Promise<unknown> {
  // Node 20 hands no loader of TypeScript on to threads.
  const script = `import("tsx/esm/api").then(({ register }) => (register(), import(${JSON.stringify(import.meta.url)})))`;
  const thread = new Worker(script, { eval: true, workerData: asked });
  return new Promise((resolve, reject) => {
    thread.on("error", reject);
    thread.on("message", async (answer) => {
      if (answer === "going") return thread.postMessage("stop");
      resolve([answer, await thread.terminate()]);
    });
  });
}

if (isMainThread) {
  const seeds = [1, 2];
  const threads = await Promise.all(seeds.map(answerOf));
  const alone = [];
  for (const seed of seeds) alone.push(await losses(seed));
  process.stdout.write(JSON.stringify({ threads, alone, stopped: await answerOf("stop") }));
} else if (workerData === "stop") {
  const controller = new AbortController();
  parentPort?.once("message", () => controller.abort());
  let isGoing = false;
  const going = () => {
    if (!isGoing) parentPort?.postMessage("going");
    isGoing = true;
  };
  parentPort?.postMessage(await losses(1, controller.signal, going));
} else parentPort?.postMessage(await losses(workerData));

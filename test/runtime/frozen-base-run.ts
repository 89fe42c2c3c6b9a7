/**
 * Trains small matrices beside the frozen bases of {@link writeBases} for two steps. Prints by how many MiB the process's own
 * memory (anonymous, not mapped from files) grew in each run. Run in a process of its own: tsx frozen-base-run.ts FOLDER.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { arrayDataset, meanSquaredError, readModel, Trainer } from "../../src/index.ts";
import { baseWidth } from "../helpers/frozen-base.ts";

const [folder = "."] = process.argv.slice(2);

const anonymous = (): number =>
  Number(/Anonymous:\s*(\d+)/.exec(readFileSync("/proc/self/smaps_rollup", "utf8"))?.[1]) / 1024;

async function train(path: string): Promise<{ readonly grown: number; readonly losses: readonly number[] }> {
  const before = anonymous();
  const trainer = await Trainer.create(await readModel(path), {
    ...{ objective: meanSquaredError(), batch: 4, trainable: /lora/, threads: 1 },
  });
  const x = Float32Array.from({ length: 8 * baseWidth }, (_, i) => Math.cos(i));
  const losses: number[] = [];
  for await (const event of trainer.fit(arrayDataset(x, new Float32Array(x.length), [baseWidth]))) {
    if (event.event === "step") losses.push(event.loss);
  }
  const grown = anonymous() - before;
  await trainer.release();
  return { grown, losses };
}

console.log(
  JSON.stringify([await train(join(folder, "external.onnx")), await train(join(folder, "whole.onnx"))]),
);

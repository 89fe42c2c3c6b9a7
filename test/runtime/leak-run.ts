/**
 * Trains a small network for 400 steps and prints the memory of the process in MiB after the first 100 and at the end.
 * Run in a process of its own: tsx leak-run.ts cpu|webgpu.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { arrayDataset, crossEntropy, sgd, Trainer } from "../../src/index.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { leakModel, leakWidth } from "../helpers/leak-model.ts";

const [backend = "cpu"] = process.argv.slice(2);
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const [batch, steps] = [8, 400];
const trainer = await Trainer.create(leakModel(), {
  ...{ objective: crossEntropy(), optimizer: sgd({ momentum: 0.9 }), batch, backend, learningRate: 1e-4 },
});
// One epoch: the state is read back after each.
const samples = steps * batch;
const y = Int32Array.from(labels("leak", samples, 10));
const data = arrayDataset(uniform("leak", samples * leakWidth), y, [leakWidth]);
const memory: number[] = [];
for await (const event of trainer.fit(data)) {
  if (event.event !== "step" || ![100, steps].includes(event.step)) continue;
  collect();
  memory.push(process.memoryUsage().rss / 2 ** 20);
}
await trainer.release();
console.log(JSON.stringify(memory));

/**
 * Times a training step of an MLP and a CNN, plain and with SOM, against PyTorch eager and torch.compile.
 * All contenders take turns within one run, so that a busy moment of the machine affects all of them.
 *
 * npm run bench                        writes bench/results/step.json and the table in bench/README.md
 * npm run bench -- --quick             two short rounds, writes nothing
 * npm run bench -- --network mlp --no-torch --rounds 5 --steps 10 --threads 2
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { scriptArguments } from "../scripts/arguments.ts";
import type { Contender, ContenderOptions } from "./contender.ts";
import { type BenchmarkModel, cnn, mlp } from "./models.ts";
import { ownContender } from "./own-step.ts";
import {
  machineDescription,
  own,
  ratiosOf,
  replaceSection,
  type StepReport,
  stepTable,
  timingOf,
} from "./step-report.ts";
import { TorchPeer } from "./torch-peer.ts";

const { values: flags } = scriptArguments(import.meta.url, {
  options: {
    network: { type: "string" },
    rounds: { type: "string", default: "12" },
    steps: { type: "string", default: "32" },
    threads: { type: "string", default: "2" },
    torch: { type: "boolean", default: true },
    compile: { type: "boolean", default: true },
    quick: { type: "boolean", default: false },
  },
  allowNegative: true,
});
const [rounds, steps] = flags.quick ? [2, 32] : [Number(flags.rounds), Number(flags.steps)];
const threads = Number(flags.threads);
/** Untimed steps at the start of each round: one full run of this library, which does up to 32 steps at once. */
const warmUp = 32;
/** Number of first steps whose losses must agree before anything is timed. */
const firstSteps = 3;
const models = [mlp(), cnn()].filter(({ name }) => flags.network === undefined || name === flags.network);

const peer = flags.torch ? new TorchPeer(threads) : undefined;
const about = await peer?.about();
const timings = [];
for (const model of models) timings.push(...(await timeNetwork(model)));
peer?.close();

const packageVersion = (path: string): string =>
  (JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8")) as { version: string }).version;
const report: StepReport = {
  date: new Date().toISOString(),
  machine: machineDescription(),
  threads,
  versions: {
    node: process.version.slice(1),
    "onnxruntime-node": packageVersion("../node_modules/onnxruntime-node/package.json"),
    ...(about ? { PyTorch: about.torch } : {}),
  },
  networks: Object.fromEntries(models.map(({ name, title }) => [name, title])),
  timings,
  ratios: ratiosOf(timings),
};
console.log(`\n${stepTable(report)}`);
if (!flags.quick && peer && models.length === 2) {
  mkdirSync(new URL("results", import.meta.url), { recursive: true });
  writeFileSync(new URL("results/step.json", import.meta.url), `${JSON.stringify(report, undefined, 1)}\n`);
  replaceSection(new URL("README.md", import.meta.url), "step", stepTable(report));
}

async function timeNetwork(model: BenchmarkModel) {
  const contenders: Contender[] = [];
  for (const regularized of [false, true]) {
    const options: ContenderOptions = { model, regularized, threads };
    contenders.push(await ownContender(options));
    if (peer) contenders.push(peer.contender(options, false));
    if (peer && flags.compile) contenders.push(peer.contender(options, true));
  }
  await agree(contenders);
  const times = new Map(contenders.map((contender) => [contender, [] as number[]]));
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      // Wait until the threads of the previous contender stop spinning.
      await new Promise((resolve) => setTimeout(resolve, 50));
      // Not timed: steps with cold caches.
      await contender.run(warmUp);
      times.get(contender)?.push(await contender.run(steps));
    }
    console.error(`${model.name}: round ${round + 1} of ${rounds}`);
  }
  for (const contender of contenders) await contender.close();
  return [...times].map(([contender, all]) => timingOf(contender, all));
}

/** Checks that all contenders compute the same losses, so that the timed computations are the same. */
async function agree(contenders: readonly Contender[]): Promise<void> {
  for (const regularized of [false, true]) {
    const group = contenders.filter((contender) => contender.regularized === regularized);
    let expected: readonly number[] | undefined;
    for (const contender of group) {
      const losses = await contender.start(firstSteps);
      expected ??= losses;
      const error = Math.max(...losses.map((loss, i) => Math.abs(loss / (expected?.[i] ?? Number.NaN) - 1)));
      const where = `${contender.network}${regularized ? " with SOM" : ""}, ${contender.runtime}`;
      console.error(`${where}: losses ${losses.map((loss) => loss.toFixed(6)).join(", ")}`);
      if (!(error < 1e-3))
        throw new Error(`${where}: the losses differ from those of ${group[0]?.runtime ?? own}`);
    }
  }
}

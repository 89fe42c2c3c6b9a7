/**
 * Times training steps of twelve networks, plain and with SOM on every layer: this library, PyTorch eager and torch.compile in
 * turns within one run, so that a busy moment of the machine affects all of them. Each is a process of its own.
 *
 * npm run bench                              all networks; writes a row after each: bench/results/step.json, bench/README.md
 * npm run bench -- --network resnet18 vit    some networks; the rows of the others stay
 * npm run bench -- --batch 1                 another batch than the usual one, 1 to 256, as further rows
 * npm run bench -- --quick                   two short rounds, writes nothing
 * npm run bench -- --compile                 torch.compile for every network (minutes for the large ones); --no-compile for none
 * npm run bench -- --no-torch --rounds 5 --milliseconds 100 --threads 2
 * npm run bench -- --ready                   time to the first step, and verify: bench/results/ready.json
 * npm run bench -- --growth                  an MLP and a CNN over width, depth and batch: bench/results/growth.json
 *
 * SORTH_BENCH_VERBOSE=1 shows what the processes print.
 */
import { scriptArguments } from "../scripts/arguments.ts";
import { messageOf, UsageError } from "../src/errors.ts";
import { type Contender, floor, own } from "./contender.ts";
import { goalsTable } from "./goals.ts";
import { growth } from "./growth.ts";
import { Host, hosted } from "./host.ts";
import { commitDescription, machineDescription, nodeVersions, replaceSection } from "./machine.ts";
import { exportNetwork, type NetworkName, networkNames, networks, readNetwork } from "./networks.ts";
import { ready } from "./ready.ts";
import { measure } from "./rounds.ts";
import type { Run } from "./run.ts";
import { type NetworkResult, resultOf, writeRow } from "./step-results.ts";
import { stepTable } from "./step-table.ts";

const { values: flags, positionals } = scriptArguments(import.meta.url, {
  options: {
    network: { type: "string", multiple: true },
    batch: { type: "string" },
    rounds: { type: "string" },
    milliseconds: { type: "string" },
    threads: { type: "string", default: "2" },
    torch: { type: "boolean", default: true },
    compile: { type: "boolean" },
    quick: { type: "boolean", default: false },
    ready: { type: "boolean", default: false },
    growth: { type: "boolean", default: false },
  },
  allowNegative: true,
  allowPositionals: true,
});

try {
  await main();
} catch (error) {
  console.error(`error: ${messageOf(error)}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}

async function main(): Promise<void> {
  const threads = wholeNumber("threads", flags.threads, 1, 256);
  const torch = flags.torch ?? true;
  const versions = { ...nodeVersions(), ...(torch && { PyTorch: await torchVersion() }) };
  const run: Run = {
    threads,
    torch,
    rounds: wholeNumber("rounds", flags.rounds ?? (flags.quick ? "2" : "7"), 1, 1000),
    milliseconds: wholeNumber(
      "milliseconds",
      flags.milliseconds ?? (flags.quick ? "100" : "250"),
      100,
      60_000,
    ),
    writes: !flags.quick && torch,
    conditions: () => ({
      date: new Date().toISOString(),
      commit: commitDescription(),
      machine: machineDescription(),
      ...{ threads, versions },
    }),
  };
  const names = chosenNetworks([...(flags.network ?? []), ...positionals]);
  if (flags.growth) return growth(run);
  if (flags.ready) return ready(run, names);
  const results: NetworkResult[] = [];
  for (const name of names) {
    const batch =
      flags.batch === undefined ? networks[name].batch : wholeNumber("batch", flags.batch, 1, 256);
    const result = await timeNetwork(name, batch, run);
    if (!result) continue;
    results.push(result);
    if (run.writes) writeResult(result);
  }
  console.log(`\n${stepTable(results)}`);
}

/** Times a network; undefined, with a message, if it cannot be exported. */
async function timeNetwork(
  network: NetworkName,
  batch: number,
  run: Run,
): Promise<NetworkResult | undefined> {
  const say = (text: string) =>
    console.error(`${new Date().toISOString().slice(11, 19)} ${network}: ${text}`);
  try {
    say(`batch ${batch}`);
    const folder = exportNetwork({ network, batch });
    const compiles = run.torch && (flags.compile ?? networks[network].compiles);
    const contenders: Contender[] = [];
    const add = (host: Host, runtime: string, regularized: boolean, command: object) =>
      contenders.push(hosted(host, { runtime, network, regularized, alone: true, command }));
    const torchStep = { batch, size: {}, compile: false, fused: false };
    for (const som of [false, true]) {
      add(Host.own(run.threads), own, som, { folder });
      if (som) add(Host.own(run.threads), floor, som, { folder, floor: true });
      if (!run.torch) continue;
      add(Host.torch(run.threads), "PyTorch eager", som, torchStep);
      if (!som) add(Host.torch(run.threads), "eager, fused AdamW", som, { ...torchStep, fused: true });
      if (compiles) add(Host.torch(run.threads), "torch.compile", som, { ...torchStep, compile: true });
    }
    const outcomes = await measure(contenders, { ...run, say });
    const { title } = readNetwork(folder, network);
    return resultOf({ network, batch, title }, run.conditions(), outcomes);
  } catch (error) {
    say(`not timed: ${messageOf(error)}`);
    return undefined;
  }
}

/** Writes the row of a network, and the tables of all rows. */
function writeResult(result: NetworkResult): void {
  const order = ({ network, batch }: NetworkResult) =>
    `${networkNames.indexOf(network as NetworkName)} ${batch}`;
  const rows = writeRow(new URL("results/step.json", import.meta.url), result, order);
  replaceSection(new URL("README.md", import.meta.url), "step", stepTable(rows));
  replaceSection(new URL("../docs/performance.md", import.meta.url), "goals", goalsTable(rows));
}

function chosenNetworks(names: readonly string[]): readonly NetworkName[] {
  const unknown = names.find((name) => !(name in networks));
  if (unknown !== undefined) {
    throw new UsageError(`there is no network "${unknown}"; give some of ${networkNames.join(", ")}`);
  }
  return names.length === 0 ? networkNames : networkNames.filter((name) => names.includes(name));
}

function wholeNumber(flag: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new UsageError(`--${flag} ${text}: give a whole number from ${least} to ${most}`);
}

async function torchVersion(): Promise<string> {
  const host = Host.torch(1);
  const { torch } = await host.ask<{ torch: string }>({ do: "about" });
  host.close();
  return torch;
}

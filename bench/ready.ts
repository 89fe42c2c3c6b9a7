import { messageOf } from "../src/errors.ts";
import { own } from "./contender.ts";
import { Host, hosted } from "./host.ts";
import { replaceSection } from "./machine.ts";
import { exportNetwork, type NetworkName, networkNames, networks, readNetwork } from "./networks.ts";
import type { Run } from "./run.ts";
import { median, type Spread, spreadOf } from "./statistics.ts";
import { type Conditions, writeRow } from "./step-results.ts";
import { runsOf, spreadText } from "./step-table.ts";

/** Number of processes that are started for each figure of this library. */
const repetitions = 3;

/** Seconds that a network takes before its first step is done, and that `verify` takes. */
export interface ReadyResult extends Conditions {
  readonly network: string;
  readonly batch: number;
  readonly title: string;
  /** From reading the model's file to the loss of the first step. */
  readonly plain: Spread;
  readonly som: Spread;
  /** Building PyTorch's module to the loss of its first step. */
  readonly eager: number | undefined;
  readonly verify: Verified | { readonly error: string };
}

interface Verified {
  readonly seconds: number;
  readonly checks: number;
  readonly failed: readonly string[];
  /** What was not checked, and other information. */
  readonly remarks: readonly string[];
}

/** Times getting ready and `verify`, each in a new process, and writes a row after each network. */
export async function ready(run: Run, names: readonly NetworkName[]): Promise<void> {
  const file = new URL("results/ready.json", import.meta.url);
  const order = ({ network }: ReadyResult) => String(networkNames.indexOf(network as NetworkName));
  const results: ReadyResult[] = [];
  for (const network of names) {
    try {
      const result = await measured(network, run);
      results.push(result);
      console.error(`${network}: ${cellsOf(result).slice(1).join("; ")}`);
      if (!run.writes) continue;
      const rows = writeRow(file, result, order);
      replaceSection(new URL("README.md", import.meta.url), "ready", readyTable(rows));
    } catch (error) {
      console.error(`${network}: not timed: ${messageOf(error)}`);
    }
  }
  console.log(`\n${readyTable(results)}`);
}

async function measured(network: NetworkName, run: Run): Promise<ReadyResult> {
  const { batch } = networks[network];
  const folder = exportNetwork({ network, batch });
  const seconds = async (host: Host, runtime: string, regularized: boolean, command: object) => {
    const contender = hosted(host, { runtime, network, regularized, alone: true, command });
    try {
      // The process has loaded its libraries before the time begins.
      await contender.peak();
      return (await contender.start(1)).seconds;
    } finally {
      await contender.close();
    }
  };
  const [plain, som, eager]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < (run.writes ? repetitions : 1); i++) {
    plain.push(await seconds(Host.own(run.threads), own, false, { folder }));
    som.push(await seconds(Host.own(run.threads), own, true, { folder }));
    if (!run.torch || i > 0) continue;
    const command = { batch, size: {}, compile: false, fused: false };
    eager.push(await seconds(Host.torch(run.threads), "PyTorch eager", false, command));
  }
  return {
    ...{ network, batch, title: readNetwork(folder, network).title },
    ...run.conditions(),
    ...{ plain: spreadOf(plain, 2), som: spreadOf(som, 2) },
    eager: run.torch ? Number(median(eager).toFixed(2)) : undefined,
    verify: await verified(folder, network, run.threads),
  };
}

/** Runs `verify` with its usual budget on the network with SOM injected into every layer. */
async function verified(folder: string, network: string, threads: number): Promise<ReadyResult["verify"]> {
  const host = Host.own(threads);
  try {
    const result = await host.ask<Verified>({ do: "verify", folder, network });
    return { ...result, seconds: Number(result.seconds.toFixed(2)) };
  } catch (error) {
    return { error: messageOf(error) };
  } finally {
    host.close();
  }
}

/** The time to the first step, and `verify`, as a Markdown table. */
export function readyTable(results: readonly ReadyResult[]): string {
  const headings = ["", "plain", "SOM", "PyTorch eager", "verify", "its checks"];
  return [
    `| ${headings.join(" | ")} |`,
    `|${headings.map(() => "---|").join("")}`,
    ...results.map((result) => `| ${cellsOf(result).join(" | ")} |`),
    "",
    ...runsOf(results),
  ].join("\n");
}

function cellsOf({ title, plain, som, eager, verify }: ReadyResult): string[] {
  const times = [spreadText(plain), spreadText(som), eager?.toFixed(2) ?? ""];
  if ("error" in verify) return [title, ...times, "failed", verify.error];
  const { seconds, checks, failed, remarks } = verify;
  const counts = `${checks - failed.length - remarks.length} passed, ${failed.length} failed, ${remarks.length} noted`;
  return [title, ...times, seconds.toFixed(1), counts];
}

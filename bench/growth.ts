import { messageOf } from "../src/errors.ts";
import { own } from "./contender.ts";
import { Host, hosted } from "./host.ts";
import { replaceSection } from "./machine.ts";
import { exportNetwork, exportNetworks, type NetworkRequest, readNetwork } from "./networks.ts";
import { measure } from "./rounds.ts";
import type { Run } from "./run.ts";
import { type NetworkResult, resultOf, writeRow } from "./step-results.ts";
import { runsOf, spreadText } from "./step-table.ts";

const powers = (from: number, to: number, factor = 2): number[] =>
  from > to ? [] : [from, ...powers(from * factor, to, factor)];

/** What grows in each series; everything else stays at the first value given here. */
const series: Readonly<Record<string, readonly NetworkRequest[]>> = {
  "MLP, width": powers(64, 2048).map((width) => ({
    network: "mlp",
    batch: 64,
    size: { width, depth: 2, halving: 0 },
  })),
  "MLP, depth": powers(1, 32).map((depth) => ({
    network: "mlp",
    batch: 64,
    size: { width: 256, depth, halving: 0 },
  })),
  "MLP, batch": powers(1, 256, 4).map((batch) => ({
    network: "mlp",
    batch,
    size: { width: 256, depth: 2, halving: 0 },
  })),
  "CNN, width": powers(8, 64).map((width) => ({ network: "cnn", batch: 16, size: { width, depth: 3 } })),
  "CNN, depth": powers(2, 16).map((depth) => ({ network: "cnn", batch: 16, size: { width: 16, depth } })),
  "CNN, batch": powers(1, 256, 4).map((batch) => ({ network: "cnn", batch, size: { width: 16, depth: 3 } })),
};

export type Point = NetworkResult & { readonly series: string; readonly place: number };

/**
 * Times an MLP and a CNN over their width, depth and batch, plain and with SOM, against PyTorch eager, and writes the rows of a
 * series after each point. One process of each kind serves the points of a series.
 */
export async function growth(run: Run): Promise<void> {
  const file = new URL("results/growth.json", import.meta.url);
  const names = Object.keys(series);
  const order = (point: Point) => `${names.indexOf(point.series)} ${point.place}`;
  exportNetworks(Object.values(series).flat());
  const points: Point[] = [];
  for (const [name, requests] of Object.entries(series)) {
    const hosts = { own: Host.own(run.threads), torch: run.torch ? Host.torch(run.threads) : undefined };
    for (const [place, request] of requests.entries()) {
      try {
        const point = { ...(await timed(request, hosts, run)), series: name, place };
        points.push(point);
        console.error(`${name}: ${cellsOf(point).join("; ")}`);
        if (!run.writes) continue;
        const rows = writeRow(file, point, order);
        replaceSection(new URL("README.md", import.meta.url), "growth", growthTable(rows));
      } catch (error) {
        console.error(`${name}, ${JSON.stringify(request)}: not timed: ${messageOf(error)}`);
      }
    }
    hosts.own.close();
    hosts.torch?.close();
  }
  console.log(`\n${growthTable(points)}`);
}

async function timed(
  request: NetworkRequest,
  hosts: { readonly own: Host; readonly torch: Host | undefined },
  run: Run,
): Promise<NetworkResult> {
  const folder = exportNetwork(request);
  const { network, batch, size } = request;
  const contenders = [false, true].flatMap((regularized) => {
    const about = { network, regularized, alone: false };
    const command = { batch, size, compile: false, fused: false };
    return [
      hosted(hosts.own, { ...about, runtime: own, command: { folder } }),
      ...(hosts.torch ? [hosted(hosts.torch, { ...about, runtime: "PyTorch eager", command })] : []),
    ];
  });
  const outcomes = await measure(contenders, {
    rounds: Math.min(run.rounds, 5),
    milliseconds: Math.min(run.milliseconds, 100),
    say: () => {},
  });
  const { title } = readNetwork(folder, network);
  const result = resultOf({ network, batch, title }, run.conditions(), outcomes);
  // Several contenders share a process here, so that its peak says nothing about one of them.
  const contendersWithout = result.contenders.map(({ memory: _, ...one }) => one);
  return {
    ...result,
    contenders: contendersWithout,
    ratios: result.ratios.map((one) => ({ ...one, memory: {} })),
  };
}

/** The growth of a step as a Markdown table. */
export function growthTable(points: readonly Point[]): string {
  const headings = ["", "", "plain, ms", "÷ PyTorch eager", "SOM adds", "SOM ÷ PyTorch eager"];
  return [
    `| ${headings.join(" | ")} |`,
    `|${headings.map(() => "---|").join("")}`,
    ...points.map((point) => `| ${[point.series, ...cellsOf(point)].join(" | ")} |`),
    "",
    ...runsOf(points.slice(-1)),
  ].join("\n");
}

function cellsOf({ title, contenders, ratios }: Point): string[] {
  const [plain, som] = ratios;
  const ours = contenders.find((one) => one.runtime === own && !one.regularized);
  const against = [plain, som].map((one) => one?.time["PyTorch eager"]);
  const adds = som?.som?.[own];
  const failed = contenders.find(({ error }) => error !== undefined)?.error;
  return [
    shortened(title),
    ours?.step ? spreadText(ours.step) : (failed ?? ""),
    against[0] ? spreadText(against[0], 2) : "",
    adds ? `${(100 * adds.median).toFixed(0)} %` : "",
    against[1] ? spreadText(against[1], 2) : "",
  ];
}

/** Equal layers one after another, counted: `784-256-256-256-256-10` as `784-4×256-10`. */
const shortened = (title: string): string =>
  title.replace(
    /(?<=-)(\d+)(?:-\1){3,}(?=-|\b)/g,
    (layers, width: string) => `${layers.split("-").length}×${width}`,
  );

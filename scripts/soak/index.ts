/**
 * Works for long and shows whether memory and handles stay flat: a straight line through what is held after each part of the
 * work, past the warm-up (the first quarter), with the 95 % interval of its slope.
 *
 *     npm run build && npm run page
 *     npm run soak -- --backend cpu --steps 10000
 *
 * --steps N          trains N steps of a small network on each backend
 * --trainers N       makes, trains and releases N trainers on each backend
 * --page-minutes N   leaves the page of `sorth-onnx demo` training in Chromium for N minutes
 * --backend B        cpu, webgpu (in node), wasm, webgpu-web (in Chromium); repeat it for several (default: cpu)
 * --output FILE      adds the results to a JSON file
 * --leak BYTES       keeps so much per step and trainer on purpose, to see that it is noticed
 *
 * Without --steps, --trainers and --page-minutes: 10,000 steps on cpu, webgpu and wasm, 500 trainers on cpu, the page for 30
 * minutes. Exit code 1 if something rises faster than its bound in scripts/soak/measures.ts. Needs Linux, as memory is read
 * from /proc.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { commitDescription, machineDescription } from "../../bench/machine.ts";
import { messageOf } from "../../src/errors.ts";
import { fixed, formatTable } from "../../src/report/table.ts";
import { scriptArguments } from "../arguments.ts";
import { browserSoak, pageSoak } from "./browser-soak.ts";
import { bounds, meanings, measures, type Reading, type Soak } from "./measures.ts";
import { nodeSoak } from "./node-soak.ts";
import { isKnown } from "./processes.ts";
import { rises, type Trend, trendOf } from "./trend.ts";

const { values } = scriptArguments(import.meta.url, {
  options: {
    backend: { type: "string", multiple: true },
    steps: { type: "string" },
    trainers: { type: "string" },
    "page-minutes": { type: "string" },
    output: { type: "string" },
    leak: { type: "string" },
  },
});

function refuse(text: string): never {
  console.error(`error: ${text} (--help lists the arguments)`);
  process.exit(2);
}

/** A number above `least` given to a flag; undefined if the flag is not given. */
function number(flag: "steps" | "trainers" | "page-minutes" | "leak", least: number): number | undefined {
  const text = values[flag];
  if (text === undefined) return undefined;
  const value = Number(text);
  const whole = flag === "page-minutes" || Number.isInteger(value);
  if (!whole || !(value >= least) || value === Number.POSITIVE_INFINITY) {
    refuse(`--${flag} ${text}: give a ${flag === "page-minutes" ? "" : "whole "}number from ${least}`);
  }
  return value;
}

/** The runs in turn. */
function soaks(): Soak[] {
  const leak = number("leak", 0) ?? 0;
  const [steps, trainers, minutes] = [number("steps", 60), number("trainers", 10), number("page-minutes", 1)];
  const all = steps === undefined && trainers === undefined && minutes === undefined;
  const backends = values.backend ?? (all ? ["cpu", "webgpu", "wasm"] : ["cpu"]);
  const work = (backend: string, unit: "steps" | "trainers", amount: number): Soak => {
    if (backend === "cpu" || backend === "webgpu") return nodeSoak(backend, unit, amount, leak);
    if (backend === "wasm") return browserSoak("wasm", unit, amount, leak);
    if (backend === "webgpu-web") return browserSoak("webgpu", unit, amount, leak);
    refuse(`--backend ${backend}: give cpu, webgpu, wasm or webgpu-web`);
  };
  const count = { steps: steps ?? (all ? 10_000 : 0), trainers: trainers ?? (all ? 500 : 0) };
  return [
    ...(count.steps > 0 ? backends.map((backend) => work(backend, "steps", count.steps)) : []),
    ...(count.trainers > 0
      ? (values.backend ?? ["cpu"]).map((backend) => work(backend, "trainers", count.trainers))
      : []),
    ...(minutes !== undefined || all ? [pageSoak(minutes ?? 30)] : []),
  ];
}

/** Runs one soak and prints its table; of one that ended early, what was read until then. @returns what is wrong */
async function run(soak: Soak): Promise<string[]> {
  const began = performance.now();
  const readings: Reading[] = [];
  const faults: string[] = [];
  try {
    for await (const reading of soak.readings()) {
      readings.push(reading);
      if (process.stderr.isTTY) process.stderr.write(`\r${soak.name}: ${fixed(reading.at, 0)}\x1b[K`);
    }
  } catch (error) {
    faults.push(messageOf(error));
  }
  const done = readings.at(-1)?.at ?? 0;
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  if (readings.length < 8) return [...faults, `${readings.length} readings are too few for a line`];
  const per = soak.unit === "steps" ? 1000 : 1;
  const lines = measures.flatMap((name) => {
    const samples = readings.flatMap(({ at, held }) =>
      held[name] === undefined ? [] : [{ at, held: held[name] }],
    );
    if (samples.length === 0) return [];
    const trend = trendOf(samples);
    return [{ name, trend, bound: bounds[soak.unit][name], risen: rises(trend, bounds[soak.unit][name]) }];
  });
  const unit = per === 1 ? soak.unit.slice(0, -1) : "1,000 steps";
  const seconds = Math.round((performance.now() - began) / 1000);
  console.log(`${soak.name}: ${Math.round(done)} ${soak.unit} in ${seconds} s, ${readings.length} readings`);
  const heads = ["", "after warm-up", "at the end", `slope per ${unit}`, "95 %", "bound"];
  console.log(
    formatTable(
      [
        ...heads.map((heading, i) => ({ heading, align: i === 0 ? "left" : "right" }) as const),
        { heading: "" },
      ],
      lines.map(({ name, trend, bound, risen }) => [
        ...[meanings[name], fixed(trend.first, 1), fixed(trend.last, 1), fixed(trend.slope * per, 3)],
        ...[`±${fixed(trend.uncertainty * per, 3)}`, fixed(bound * per, 2), risen ? "RISES" : "flat"],
      ]),
    ),
  );
  if (values.output !== undefined) {
    const trends = Object.fromEntries(lines.map(({ name, trend }) => [name, scaled(trend, per)]));
    keep(values.output, soak, { amount: Math.round(done), per: unit, seconds, trends });
  }
  return [...faults, ...lines.flatMap(({ name, risen }) => (risen ? [`${meanings[name]} rises`] : []))];
}

const scaled = (trend: Trend, per: number) => ({
  first: Number(trend.first.toFixed(2)),
  last: Number(trend.last.toFixed(2)),
  slope: Number((trend.slope * per).toFixed(4)),
  uncertainty: Number((trend.uncertainty * per).toFixed(4)),
});

/** Adds a result to the file; one of the same name is replaced. */
function keep(file: string, { name }: Soak, result: object): void {
  const old = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as object) : {};
  const where = { date: new Date().toISOString().slice(0, 10), commit: commitDescription() };
  const all = { ...old, [name]: { ...where, machine: machineDescription(), ...result } };
  writeFileSync(file, `${JSON.stringify(all, undefined, 2)}\n`);
}

const planned = soaks();
if (!isKnown) refuse("memory and handles of processes are read from /proc, which only Linux has");
let failed = false;
for (const soak of planned) {
  const faults = await run(soak);
  if (faults.length > 0) failed = true;
  for (const fault of faults) console.log(`${soak.name}: ${fault}`);
}
process.exitCode = failed ? 1 : 0;

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { graphOf } from "../../src/graph/model-graph.ts";
import { readModel } from "../../src/index.ts";
import type { Finished } from "./child.ts";
import type { ShippedModel } from "./fetch.ts";
import { choicesOfLengths, isUnusualBatch, type Lengths, lengthFlags } from "./lengths.ts";

/** The outcome of one command on one model. */
export interface Outcome {
  /** `ok`, `refused` (a reason in one line), `failed` (verify or strip found a difference, or the loss rose), `broke` (anything else). */
  readonly kind: "ok" | "refused" | "failed" | "broke" | "left out";
  readonly seconds?: number;
  readonly peakMegabytes?: number;
  /** The reason, as printed by the command. */
  readonly text?: string;
}

/** The commands of the survey, in an order in which each finds the files of earlier ones that it needs. */
export const commands = ["inspect", "inject", "verify", "strip", "angles", "grad", "steps"] as const;
export type CommandName = (typeof commands)[number];
export type Outcomes = Readonly<Record<CommandName, Outcome>>;

/** Time limit of a command in seconds. */
const limit = 120;

const childFile = fileURLToPath(new URL("child.ts", import.meta.url));

/** Runs every command on a model, each in a separate process. */
export async function survey(model: ShippedModel, folder: string): Promise<Outcomes> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const injected = join(folder, "injected.onnx");
  const stripped = join(folder, "stripped.onnx");
  const lengths = await lengthsThatRun(model, folder);
  const flags = lengthFlags(lengths);
  const cli = (...argv: string[]) => inChild(folder, ["cli", ...argv]);
  const inspect = await cli("inspect", model.path, ...flags);
  const inject = await cli("inject", model.path, "-o", injected, ...flags);
  const none: Outcome = { kind: "left out", text: "nothing was injected" };
  const has = existsSync(injected);
  const forVerify = isUnusualBatch(lengths) ? lengths : { ...lengths, batch: undefined };
  const verify = has ? await cli("verify", model.path, injected, ...lengthFlags(forVerify)) : none;
  const strip = has ? sameBytes(await cli("strip", injected, "-o", stripped), model.path, stripped) : none;
  const angles = await cli("angles", model.path, ...flags);
  const gradient = join(folder, "gradient.onnx");
  const grad = await cli("grad", model.path, "--objective", "mse", "-o", gradient, ...flags);
  const steps = await inChild(folder, ["steps", model.path, JSON.stringify(lengths satisfies Lengths)]);
  rmSync(folder, { recursive: true, force: true });
  return { inspect, inject, verify, strip, angles, grad, steps };
}

/** The first sizes at which ONNX Runtime runs the model; the first of all where it runs at none. */
async function lengthsThatRun({ path }: ShippedModel, folder: string): Promise<Lengths> {
  const [first, ...others] = choicesOfLengths(graphOf(await readModel(path)));
  if (!first) return { batch: undefined, dims: {} };
  for (const lengths of [first, ...others]) {
    const { kind } = await inChild(folder, ["runs", path, JSON.stringify(lengths)]);
    if (kind === "ok") return lengths;
  }
  return first;
}

function inChild(folder: string, argv: readonly string[]): Promise<Outcome> {
  const result = join(folder, "result.json");
  rmSync(result, { force: true });
  const child = spawn(process.execPath, ["--import", "tsx", childFile, result, ...argv], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [output, errors] = ["", ""];
  child.stdout.on("data", (text) => {
    output += text;
  });
  child.stderr.on("data", (text) => {
    errors += text;
  });
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), limit * 1000);
    child.on("close", (_, signal) => {
      clearTimeout(timer);
      if (!existsSync(result)) {
        const text = signal === "SIGKILL" ? `not done in ${limit} s` : lastLine(errors);
        resolve({ kind: "broke", text });
        return;
      }
      resolve(outcomeOf(JSON.parse(readFileSync(result, "utf8")) as Finished, output, errors));
    });
  });
}

function outcomeOf(
  { code, seconds, peakMegabytes, losses }: Finished,
  output: string,
  errors: string,
): Outcome {
  const cost = { seconds, peakMegabytes };
  if (losses) {
    // JSON stores NaN as null.
    const [first, last] = [losses[0] ?? Number.NaN, losses.at(-1) ?? Number.NaN];
    const text = `loss ${first.toPrecision(4)} → ${last.toPrecision(4)}`;
    return { kind: last < first ? "ok" : "failed", ...cost, text };
  }
  if (code === 0) return { kind: "ok", ...cost };
  const failed = output.split("\n").filter((line) => /FAILED/.test(line));
  if (failed.length > 0) return { kind: "failed", ...cost, text: failed.slice(0, 2).join("; ") };
  const reason = errors.split("\n").find((line) => line.startsWith("error: "));
  if (reason)
    return { kind: /unexpected/.test(reason) ? "broke" : "refused", ...cost, text: reason.slice(7) };
  return { kind: "failed", ...cost, text: lastLine(errors) };
}

function sameBytes(outcome: Outcome, original: string, stripped: string): Outcome {
  if (outcome.kind !== "ok") return outcome;
  const same = readFileSync(original).equals(readFileSync(stripped));
  return same ? outcome : { ...outcome, kind: "failed", text: "other bytes than the original's" };
}

const lastLine = (text: string) => text.trim().split("\n").at(-1) ?? "";

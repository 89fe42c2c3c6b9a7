import { type Command, InvalidArgumentError, Option } from "commander";
import { dataKinds } from "../../data/load-node.ts";
import { DeviceError, SorthError, UsageError } from "../../errors.ts";
import { bench, type Model, readModel } from "../../index.ts";
import type { OperatorTime } from "../../measure/operator-profile-node.ts";
import type { BackendTimes } from "../../measure/step-benchmark-node.ts";
import { type BackendName, nodeBackends } from "../../passes/backends/names.ts";
import { type ModelFacts, modelFacts } from "../../programs/model-facts.ts";
import { formatBytes } from "../../report/byte-count.ts";
import { fixed, formatTable } from "../../report/table.ts";
import { checkFallback } from "../../runtime/check-run-options.ts";
import { newTrainer } from "../begin-run.ts";
import { withClasses } from "../class-list.ts";
import { addDataFlags, checkHasData, type DataFlags } from "../data-flags.ts";
import { dimensionsOf } from "../dimension-flags.ts";
import { withLossFiles } from "../loss-files.ts";
import { given, positiveInteger, repeated } from "../options.ts";
import { readData } from "../read-data.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";
import { addStepFlags, addTuningFlags, type TrainingFlags } from "../train-flags.ts";

interface Flags extends SharedFlags, TrainingFlags, DataFlags {
  readonly data?: string;
  readonly backend?: readonly string[];
  readonly allowFallback?: true;
  readonly stepsPerRun?: number | "auto";
  readonly rounds: number;
  readonly roundTime: number;
  readonly profile?: true;
  readonly json?: true;
}

/** `bench`: times a training step. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .argument("<model>", "an ONNX model; it is not changed")
    .option("--data <source>", `time on these samples instead of random ones: ${dataKinds}`)
    .addOption(
      new Option("--backend <name>", "where to run; repeatable (default: all that are here)").argParser(
        repeated(backendName),
      ),
    )
    .option("--rounds <count>", "rounds, of which the median counts", positiveInteger, 7)
    .option("--round-time <ms>", "least time of each step in a round", positiveInteger, 200)
    .option("--threads <count>", "threads of ONNX Runtime (default: ONNX Runtime decides)", positiveInteger)
    .option(
      "--steps-per-run <count>",
      "training steps per call of ONNX Runtime, as in train (default: auto)",
      (text: string) => (text === "auto" ? text : positiveInteger(text)),
    )
    .option("--allow-fallback", "run operators that the GPU lacks on the CPU, and name them")
    .option("--profile", "also the time of each operator, by ONNX Runtime's own measurement")
    .option("--json", "print all figures as JSON");
  const dataFlags = addDataFlags(command);
  addTuningFlags(command);
  addStepFlags(command);
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    checkHasData(command, dataFlags, "random samples need none");
    if (flags.data === undefined && flags.classWeights === "balanced") {
      throw new UsageError("--class-weights balanced needs --data");
    }
    if (flags.backend?.every((name) => name === "cpu")) checkFallback(flags.allowFallback, "cpu");
    const onMessage = (message: string) => terminal.note(message);
    const model = await withClasses(await readModel(path), flags, onMessage);
    const facts = modelFacts(model, dimensionsOf(flags));
    if (facts.artifact !== undefined) {
      throw new UsageError(`"${path}" is a file of ONNX Runtime's training API: give bench the model itself`);
    }
    const { options, dataset } = await optionsOf(model, facts, flags, terminal);
    const asked = flags.backend;
    const signal = terminal.interrupted();
    const times = await bench(model, {
      ...options,
      ...{ rounds: flags.rounds, roundTime: flags.roundTime, profile: flags.profile === true },
      ...given({ dataset, backends: flags.backend as readonly BackendName[] | undefined, signal }),
      onProgress: (text) => terminal.status(text),
    })
      .catch((error: unknown) => {
        throw signal?.aborted ? new SorthError("stopped; nothing was kept") : error;
      })
      .finally(() => terminal.status());
    for (const one of times) {
      if ("absent" in one && asked) throw new DeviceError(`${one.backend}: ${one.absent}`);
    }
    if (flags.json) terminal.json({ model: path, data: flags.data ?? "random", backends: times });
    else printTimes(path, times, flags, terminal);
  });
}

function backendName(text: string): string {
  if (nodeBackends.some((name) => name === text)) return text;
  throw new InvalidArgumentError(`Give one of ${nodeBackends.join(", ")}.`);
}

/** The options of the step that `train` would build, and the samples. */
async function optionsOf(model: Model, facts: ModelFacts, flags: Flags, terminal: Terminal) {
  const { threads, allowFallback, stepsPerRun, backend: _, ...others } = await withLossFiles(flags);
  const onMessage = (message: string) => terminal.note(message);
  const on = { backend: "cpu", ...given({ threads, allowFallback, stepsPerRun }) };
  const read =
    flags.data === undefined
      ? undefined
      : await readData(flags.data, terminal, flags, { model, conversion: undefined });
  const trainer = await newTrainer({
    ...{ model, facts, flags: { ...others, ...on }, train: read?.train, normalize: read?.normalize },
    ...{ text: read?.conversion?.text, onMessage },
  });
  await trainer.release();
  // bench decides on backends, and on a learning rate that the same batches stand.
  const { backend: _backend, learningRate: _learningRate, ...options } = trainer.options;
  return { options, dataset: read?.train };
}

function printTimes(path: string, times: readonly BackendTimes[], flags: Flags, terminal: Terminal): void {
  const { bold } = terminal.colors;
  const here = times.flatMap((one) => ("steps" in one ? [one] : []));
  const batch = here[0]?.batch;
  const data = flags.data ?? "random samples";
  if (batch !== undefined) terminal.print(`${path}, batches of ${batch} of ${data}, ${flags.rounds} rounds`);
  const headings = [
    "backend",
    "penalty",
    "ms a step",
    "quartiles",
    "÷ none",
    "samples/s",
    "memory",
    "estimated",
  ];
  const columns = headings.map((heading, i) => ({ heading, align: i < 2 ? "left" : "right" }) as const);
  const rows = here.flatMap(({ backend, steps }) =>
    steps.map((step) => [
      ...[backend, step.penalty, digits(step.milliseconds), step.quartiles.map(digits).join("–")],
      ...[fixed(step.ratio, 2), Math.round(step.samplesPerSecond).toLocaleString("en")],
      ...[
        formatBytes(step.memory),
        step.estimatedMemory === undefined ? "" : formatBytes(step.estimatedMemory),
      ],
    ]),
  );
  if (rows.length > 0) terminal.print(formatTable(columns, rows, bold));
  for (const one of times) if ("absent" in one) terminal.print(`${one.backend}: not measured: ${one.absent}`);
  for (const { backend, steps } of here) {
    for (const { penalty, operators } of steps) {
      if (!operators) continue;
      terminal.print(
        `\n${bold(`${backend}, penalty ${penalty}, by operator`)}\n${operatorTable(operators, bold)}`,
      );
    }
  }
  if (here.length === 0) throw new DeviceError("no backend ran the step");
}

const digits = (value: number): string => `${+value.toPrecision(3)}`;

function operatorTable(operators: readonly OperatorTime[], paint: (text: string) => string): string {
  const headings = ["operator", "calls a step", "ms a step", "share"];
  const columns = headings.map((heading, i) => ({ heading, align: i === 0 ? "left" : "right" }) as const);
  const rows = operators.map(({ operator, calls, milliseconds, share }) => [
    ...[operator, `${calls}`, fixed(milliseconds, 3), `${(100 * share).toFixed(1)} %`],
  ]);
  return formatTable(columns, rows, paint);
}

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { dataKinds } from "../data/load-node.ts";
import { UsageError } from "../errors.ts";
import type { FitOptions } from "../index.ts";
import type { ModelFacts } from "../programs/model-facts.ts";
import { addTrainingDataFlags } from "./data-flags.ts";
import { fitOf } from "./fit-flags.ts";
import { given, quietCommand, typedOptions } from "./options.ts";
import { outputBeside } from "./output.ts";
import { placementOf } from "./placement-flags.ts";
import { type RunSettings, readRunSettings, resumedCall } from "./run-settings.ts";
import { addRunFlags, addTrainingFlags, type RunFlags, type TrainingFlags } from "./train-flags.ts";

/** The flags of `train`. */
export type TrainFlags = RunFlags & TrainingFlags;

/** Declares the argument and the flags, and returns the names of the flags that say how to train. */
export function declare(command: Command): string[] {
  command.argument("[model]", "an ONNX model; a resumed run has its own");
  addRunFlags(command);
  const ofData = addTrainingDataFlags(command);
  return [...addTrainingFlags(command), ...ofData];
}

/** The command `train` with what some words say, and the names of its flags that say how to train. */
export function parsedCall(words: readonly string[]): {
  readonly command: Command;
  readonly trainingFlags: readonly string[];
} {
  const { command, declared: trainingFlags } = quietCommand(declare);
  return { command: command.parse([...words], { from: "user" }), trainingFlags };
}

/** A call of `train`, completed with the settings of a resumed run. */
export interface Call {
  /** The file to read the model from. */
  readonly path: string;
  /** The model's own file, with which the run began. */
  readonly model: string;
  readonly flags: TrainFlags;
  /** Settings of the resumed run. */
  readonly settings?: RunSettings;
  readonly data: string;
  /** Where to train; for a resumed run only the flags given now. */
  readonly placement: Partial<ReturnType<typeof placementOf>>;
  /** How to fit; for a resumed run only the flags given now. */
  readonly fit: FitOptions;
}

/** @throws UsageError for flags that are missing, or that a resumed run does not accept */
export async function callOf(
  command: Command,
  path: string | undefined,
  flags: TrainFlags,
  trainingFlags: readonly string[],
): Promise<Call> {
  const isGiven = (name: string) => command.getOptionValueSource(name) === "cli";
  const { epochs, otherData } = flags;
  if (flags.resume === undefined) {
    if (otherData) throw new UsageError("--other-data belongs to --resume");
    if (flags.earlyStop === false) throw new UsageError("--no-early-stop belongs to --resume");
    if (path === undefined)
      throw new UsageError("missing required argument 'model' (see sorth-onnx train --help)");
    if (flags.data === undefined) {
      throw new UsageError(`required option '--data <source>' not specified: ${dataKinds}`);
    }
    const fit = { epochs, ...fitOf(flags) };
    return { path, model: path, flags, data: flags.data, placement: placementOf(flags), fit };
  }
  const refused = typedOptions(command, trainingFlags);
  if (refused.length > 0) {
    const names = refused.map(({ long }) => long).join(", ");
    throw new UsageError(`a resumed run goes on with the options it was begun with; leave out ${names}`);
  }
  if (!existsSync(flags.resume)) {
    throw new UsageError(`--resume "${flags.resume}": there is no such folder; give the folder of a run`);
  }
  const settings = await readRunSettings(flags.resume);
  const before = settings && resumedCall<TrainFlags>(settings, command, declare);
  const merged = before?.flags ?? flags;
  const model = path ?? (settings?.artifact ? before?.model : join(flags.resume, "model.onnx"));
  if (!settings && (path === undefined || !isGiven("data") || !isGiven("epochs"))) {
    throw new UsageError(
      `"${flags.resume}" has no run.json that says how the run was begun (an older version or the library wrote it): give the model, --data and --epochs again`,
    );
  }
  const { resume } = flags;
  const kept = ["model.onnx", "last.safetensors"].some((name) => existsSync(join(resume, name)));
  if (settings && !settings.artifact && !kept) {
    throw new UsageError(
      `the run in "${flags.resume}" ended before its first checkpoint, so that nothing can go on from it: begin it again`,
    );
  }
  // Without -o the trained model goes to the path that the stopped run would have used.
  const output = merged.output ?? outputBeside(before?.model ?? model ?? "", "trained");
  return {
    path: model ?? "",
    model: path ?? before?.model ?? "",
    ...(settings && { settings }),
    flags: { ...merged, output },
    data: merged.data ?? "",
    placement: Object.fromEntries(Object.entries(placementOf(flags)).filter(([name]) => isGiven(name))),
    fit: { ...given({ epochs: isGiven("epochs") ? epochs : undefined, otherData }), ...fitOf(flags) },
  };
}

/** @throws UsageError for flags that would have no effect */
export function checkEffects(
  {
    keepPenalty,
    allowFallback,
    backend,
    lora,
    adapterFrom,
    bitfit,
    lastBlocks,
    teacher,
    buckets,
  }: TrainFlags,
  { block, artifact }: ModelFacts,
): void {
  const fixed = "fixes which parameters are trained";
  const ofModels = [
    ["--lora", lora || adapterFrom !== undefined, fixed],
    ["--bitfit", bitfit, fixed],
    ["--last-blocks", lastBlocks !== undefined, fixed],
    ["--teacher", teacher !== undefined, "has a loss of its own"],
    ["--buckets", buckets, "takes batches of one length"],
  ] as const;
  const [flag, , reason] = ofModels.find(([, isGiven]) => isGiven) ?? [];
  if (artifact !== undefined && flag) {
    throw new UsageError(`${flag} belongs to models: a training_model.onnx ${reason}`);
  }
  if (keepPenalty && !block) {
    throw new UsageError("--keep-penalty belongs to a model with an injected penalty: this one has none");
  }
  if (allowFallback && backend === "cpu") {
    throw new UsageError(
      "--allow-fallback belongs to --backend cuda and webgpu: on the CPU everything runs there",
    );
  }
}

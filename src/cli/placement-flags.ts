import { type Command, Option } from "commander";
import { nodeBackends } from "../passes/backends/names.ts";
import { given, positiveInteger } from "./options.ts";

/** Flags that say where steps run. */
export interface PlacementFlags {
  readonly backend: string;
  readonly allowFallback?: true;
  readonly stepsPerRun?: number | "auto";
}

/** Declares {@link PlacementFlags}. */
export function addPlacementFlags(command: Command): void {
  command
    .addOption(
      new Option("--backend <name>", "where to train").choices(nodeBackends).default(nodeBackends[0]),
    )
    .option("--allow-fallback", "run operators that the GPU lacks on the CPU, and name them")
    .option(
      "--steps-per-run <count>",
      "training steps per call of ONNX Runtime: same numbers, less time; auto (default) aims at 50 ms per call",
      (text: string) => (text === "auto" ? text : positiveInteger(text)),
    );
}

/** The library's options for the backend of a run. */
export const placementOf = ({ backend, allowFallback, stepsPerRun }: PlacementFlags) => ({
  backend,
  ...given({ allowFallback, stepsPerRun }),
});

import type { DropoutMask, DropoutMode } from "../passes/training/replace-dropout.ts";
import type { Program } from "./program.ts";

/** Replaces Dropout nodes by products with masks; a page loads the pass for a model that has one. @returns the masks */
export async function dropoutMasks(program: Program, mode: DropoutMode): Promise<readonly DropoutMask[]> {
  if (!program.graph.nodes.some(({ op }) => op === "Dropout")) return [];
  const { replaceDropout } = await import("../passes/training/replace-dropout.ts");
  return program.run(replaceDropout({ mode }));
}

import { drawsNumbers } from "../analysis/drawing-operators.ts";
import { Tensor } from "../onnx/tensor.ts";
import { type ModelDraw, replaceDraws } from "../passes/training/replace-draws.ts";
import { type Draw, drawn } from "../penalties/draws.ts";
import type { Program } from "./program.ts";
import type { DrawPort } from "./step-ports.ts";

/** Keeps the numbers of a model apart from those that penalties draw, whose seeds users choose. */
const firstSeed = 2 ** 31;

/** Replaces what the model's nodes draw by inputs: each with its draw, the n-th of which has a seed of its own. */
async function drawsOf(
  program: Program,
): Promise<(Pick<ModelDraw, "input" | "of" | "node"> & { draw: Draw & { anew: "step" } })[]> {
  const found = await program.run(replaceDraws());
  return found.map(({ distribution, ...one }, i) => {
    const shape = [1, one.input.shape?.[1] ?? 0] as const;
    return { ...one, draw: { distribution, shape, seed: firstSeed + i, anew: "step" } };
  });
}

/**
 * Feeds the random numbers that the model's own nodes draw, new ones at each step, so that a run can be repeated bit for bit.
 * @returns the inputs, and says of nodes that keep drawing by themselves
 */
export async function fedDraws(program: Program, onMessage?: (message: string) => void): Promise<DrawPort[]> {
  const draws = await drawsOf(program);
  const left = program.graph.nodes.filter(drawsNumbers).map(({ op, label }) => `${op} "${label}"`);
  if (left.length > 0) {
    onMessage?.(`the seed does not decide the random numbers of ${left.join(", ")}: two runs differ`);
  }
  return draws.map(({ input, draw, ...of }) => ({ ...draw, name: input.name, type: "float", ...of }));
}

/** Makes constants of those numbers: an evaluation gives the same figures each time. */
export async function fixedDraws(program: Program): Promise<void> {
  const { graph } = program;
  for (const { input, draw } of await drawsOf(program)) {
    const constant = Tensor.of(graph.freshName(input.name), "float", draw.shape, drawn(draw));
    graph.replaceUses(input, graph.addInitializer(constant));
    graph.removeInput(input);
  }
}

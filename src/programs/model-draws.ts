import { drawingOperators } from "../analysis/drawing-operators.ts";
import { Tensor } from "../onnx/tensor.ts";
import { type ModelDraw, replaceDraws } from "../passes/training/replace-draws.ts";
import { type Draw, drawn } from "../penalties/draws.ts";
import type { Program } from "./program.ts";
import type { DrawPort } from "./step-ports.ts";

/** Keeps the numbers of a model apart from those that penalties draw, whose seeds users choose. */
const firstSeed = 2 ** 31;

/** The draw of a model's node: the n-th node has a seed of its own. */
const drawOf = ({ input, distribution }: ModelDraw, index: number): Draw => ({
  ...{ distribution, shape: [1, input.shape?.[1] ?? 0], seed: firstSeed + index, anew: "step" },
});

/**
 * Feeds the random numbers that the model's own nodes draw, new ones at each step, so that a run can be repeated bit for bit.
 * @returns the inputs, and says of nodes that keep drawing by themselves
 */
export async function fedDraws(program: Program, onMessage?: (message: string) => void): Promise<DrawPort[]> {
  const draws = await program.run(replaceDraws());
  const left = program.graph.nodes.filter(({ op }) => drawingOperators.has(op));
  if (left.length > 0) {
    onMessage?.(
      `${left.map(({ op, label }) => `${op} "${label}"`).join(", ")} draws random numbers that the seed does not decide: two runs differ`,
    );
  }
  return draws.map((draw, i) => ({
    ...drawOf(draw, i),
    ...{ name: draw.input.name, type: "float", shape: drawOf(draw, i).shape, anew: "step", node: draw.node },
  }));
}

/** Makes constants of those numbers: an evaluation gives the same figures each time. */
export async function fixedDraws(program: Program): Promise<void> {
  const { graph } = program;
  for (const [i, draw] of (await program.run(replaceDraws())).entries()) {
    const own = drawOf(draw, i);
    const { name } = draw.input;
    const constant = graph.addInitializer(Tensor.of(graph.freshName(name), "float", own.shape, drawn(own)));
    graph.replaceUses(draw.input, constant);
    graph.removeInput(draw.input);
  }
}

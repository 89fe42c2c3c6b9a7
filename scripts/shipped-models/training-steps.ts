import { graphOf } from "../../src/graph/model-graph.ts";
import { adamw, buildStep, meanSquaredError, readModel } from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { Random } from "../../src/random.ts";
import { cpuBackend } from "../../src/runtime/cpu-node.ts";
import type { Lengths } from "./lengths.ts";
import { randomInput, rowsOfTables } from "./random-inputs.ts";

/** Number of steps. */
const count = 20;

/**
 * Trains a model towards random numbers: twenty steps of AdamW on one batch, on the CPU.
 * @returns the loss of every step, which falls if the gradient is right
 * @throws SorthError like buildStep
 */
export async function trainingSteps(path: string, { batch, dims }: Lengths): Promise<number[]> {
  const model = await readModel(path);
  const step = await buildStep(model, {
    objective: meanSquaredError(),
    optimizer: adamw(),
    penalties: [],
    dims,
    ...(batch !== undefined && { batch }),
  });
  const session = await cpuBackend.openStep(step, {});
  const random = new Random("shipped models", 1);
  const { inputs, labels, masks, scalars } = step.ports;
  const scalar = (name: string, value: number) =>
    scalars.type === "double"
      ? Tensor.of(name, "double", [], Float64Array.of(value))
      : Tensor.float(name, [], [value]);
  const rows = rowsOfTables(graphOf(model));
  const data = [...inputs, ...(labels ? [labels] : [])].map(
    (port) => [port.name, randomInput(random, port, rows.get(port.name))] as const,
  );
  const kept = masks.map(({ name, shape }) => {
    const ones = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(1);
    return [name, Tensor.float(name, shape, ones)] as const;
  });
  const losses: number[] = [];
  for (let number = 1; number <= count; number++) {
    const [result] = await session.run(
      new Map([
        ...data,
        ...kept,
        [scalars.learningRate, scalar(scalars.learningRate, 1e-3)] as const,
        [scalars.step, scalar(scalars.step, number)] as const,
      ]),
    );
    losses.push(result?.loss ?? Number.NaN);
  }
  await session.release();
  return losses;
}

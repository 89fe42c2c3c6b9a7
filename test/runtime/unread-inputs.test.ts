import { expect, test } from "vitest";
import { namedDataset } from "../../src/data/array-dataset.ts";
import { crossEntropy, evaluateModel, Trainer } from "../../src/index.ts";
import { combined } from "../../src/losses/public.ts";
import { builtModel, GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";
import { losses } from "./small-run.ts";

/** Two outputs, each with an input of its own, and a mask that nothing reads. */
function twoSides() {
  const b = new GraphBuilder(18);
  const left = b.input("left", ["batch", 4]);
  const right = b.input("right", ["batch", 4]);
  b.input("mask", ["batch", 4], "int64");
  const scores = (input: typeof left, name: string) =>
    b.op("MatMul", [input, b.weight(`${name}.w`, [4, 3])], name);
  b.output(scores(left, "first"), scores(right, "second"));
  return builtModel(b);
}

const size = 24;
const data = namedDataset({
  name: "sides",
  inputs: {
    left: { data: Float32Array.from(randomFloats("left", size * 4)), shape: [4] },
    right: { data: Float32Array.from(randomFloats("right", size * 4)), shape: [4] },
    mask: { data: Int32Array.from(randomInts("mask", size * 4, 0, 2)), shape: [4] },
  },
  labels: { data: Int32Array.from(randomInts("labels", size, 0, 3)) },
});

test.each(["first", "second"])(
  "a run whose loss reads %s is validated without the inputs of the other output",
  async (output) => {
    const options = { batch: 8, threads: 1, learningRate: 0.05 };
    const objective = combined([{ objective: crossEntropy(), output }]);
    const trainer = await Trainer.create(twoSides(), { ...options, objective });
    expect(await losses(trainer, data, { epochs: 2, validation: 0.25 })).toHaveLength(4);
    const { loss, accuracy } = await trainer.evaluate(data);
    const trained = trainer.export();
    await trainer.release();
    const read = await evaluateModel(trained, data, { objective: crossEntropy(), output });
    expect(loss).toBeCloseTo(read.loss, 6);
    expect(accuracy).toBe(read.accuracy);
  },
);

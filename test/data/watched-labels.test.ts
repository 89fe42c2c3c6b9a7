import { beforeAll, describe, expect, test } from "vitest";
import {
  type BatchArray,
  crossEntropy,
  type Dataset,
  datasetSubset,
  evaluateModel,
  generatorDataset,
  type Model,
  readModel,
  Trainer,
} from "../../src/index.ts";

const size = 12;
const how = { objective: crossEntropy(), batch: 4 };
let model: Model;
beforeAll(async () => {
  model = await readModel("models/mlp.onnx");
});

/** Samples whose labels only `fill` knows: the sample 7 has the label that is given, all others 3. */
class Own implements Dataset {
  readonly name = "own";
  readonly size = size;
  readonly x = { type: "float", shape: [1, 28, 28] } as const;
  readonly y = { type: "integer", shape: [] } as const;
  readonly #label: number;
  readonly #waits: boolean;

  constructor(label: number, waits = false) {
    [this.#label, this.#waits] = [label, waits];
  }

  fill(indices: ArrayLike<number>, x: BatchArray, y: BatchArray) {
    (x as Float32Array).fill(0.25);
    for (const [row, index] of Array.from(indices).entries()) {
      y[row] = (index === 7 ? this.#label : 3) as never;
    }
    return this.#waits ? Promise.resolve() : undefined;
  }
}

const generator = (label: number) =>
  generatorDataset(
    function* () {
      for (let i = 0; i < size; i++) yield { x: new Float32Array(784).fill(0.25), y: i === 7 ? label : 3 };
    },
    { size, shapes: { x: [1, 28, 28] } },
  );

/** The steps of a fit, or what ends it. */
async function fitted(data: Dataset, validation?: Dataset, more: object = {}): Promise<number | string> {
  const trainer = await Trainer.create(model, { ...how, ...more });
  try {
    for await (const _ of trainer.fit(data, validation && { validation }));
    return trainer.steps;
  } catch (error) {
    return (error as Error).message;
  } finally {
    await trainer.release();
  }
}

describe("labels that only a fill knows", () => {
  test.each([
    ["an object with fill", (label: number) => new Own(label)],
    ["a fill that answers with a promise", (label: number) => new Own(label, true)],
    ["a generator without classes", generator],
    [
      "a part of another dataset",
      (label: number) =>
        datasetSubset(
          new Own(label),
          Uint32Array.from({ length: size }, (_, i) => i),
        ),
    ],
  ])("are refused where the model has no such class: %s", async (_, make) => {
    for (const label of [10, -100]) {
      const message = new RegExp(
        `^\\S.*: y of sample 7 holds the label ${label}, but the model has 10 classes: ${label < 0 ? "number them from 0" : "give it more"}`,
      );
      expect(await fitted(await make(label))).toMatch(message);
      expect(await fitted(new Own(3), await make(label))).toMatch(message);
      await expect(evaluateModel(model, await make(label), how)).rejects.toThrow(message);
      const trainer = await Trainer.create(model, how);
      await expect(trainer.evaluate(await make(label))).rejects.toThrow(message);
      await trainer.release();
      // What the loss leaves out is no class.
      const ignoring = { objective: crossEntropy({ ignoreIndex: label }) };
      expect(await fitted(await make(label), await make(label), ignoring)).toBe(3);
    }
    expect(await fitted(await make(9), await make(0))).toBe(3);
  });

  test("are refused too where a loss reads them as probabilities", async () => {
    const shares = { objective: crossEntropy({ labels: "probabilities" }) };
    expect(await fitted(new Own(10), undefined, shares)).toMatch(/y of sample 7 holds the label 10/);
    expect(await fitted(new Own(9), undefined, shares)).toBe(3);
  });
});

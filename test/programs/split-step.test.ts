import { describe, expect, it } from "vitest";
import {
  adamw,
  buildSplitStep,
  buildStep,
  crossEntropy,
  encodeModel,
  initialState,
  type Optimizer,
  readModel,
  sgd,
  som,
  Tensor,
} from "../../src/index.ts";
import { chain, clipByValue } from "../../src/optimizers/public.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { advanced, opened, type Values } from "../helpers/step-graphs.ts";

function batch(index: number, rows: number, from = 0, to = rows): Values {
  const x = uniform(`split.x.${index}`, rows * 784);
  const y = labels(`split.y.${index}`, rows, 10);
  return {
    x: Tensor.float("x", [to - from, 1, 28, 28], x.slice(from * 784, to * 784)),
    labels: Tensor.of("labels", "int32", [to - from], Int32Array.from(y.slice(from, to))),
    learning_rate: Tensor.float("learning_rate", [], [0.01]),
    step: Tensor.float("step", [], [index + 1]),
    penalty_weight: Tensor.float("penalty_weight", [], [0.1]),
  };
}

describe("a step in two graphs", () => {
  const optimizers: Record<string, Optimizer> = { adamw: adamw(), sgd: sgd({ momentum: 0.9 }) };
  for (const [name, optimizer, precision] of [
    ...Object.entries(optimizers).map((one) => [...one, "float32"] as const),
    // The first update is left out.
    ["mixed precision", adamw(), "mixed:init-scale=1e9"] as const,
  ]) {
    it(`gives the bits of the step in one, ${name}`, async () => {
      const model = await readModel("models/mlp.onnx");
      const options = { objective: crossEntropy(), penalties: [{ penalty: som() }], optimizer, batch: 8 };
      const whole = await buildStep(model, { ...options, precision });
      const split = await buildSplitStep(model, { ...options, precision });
      const run = await opened(whole.model);
      const [gradients, update] = [await opened(split.gradients), await opened(split.update)];
      let one = await (await opened(initialState(whole)))({});
      let two = await (await opened(initialState({ ...split, model: split.update })))({});
      expect(Object.keys(two).sort()).toEqual(Object.keys(one).sort());
      for (let index = 0; index < 3; index++) {
        const feeds = batch(index, 8);
        const joined = await run({ ...one, ...feeds });
        const slopes = await gradients({ ...two, ...feeds });
        const updated = await update({ ...two, ...feeds, ...slopes });
        expect(slopes.loss?.numbers()).toEqual(joined.loss?.numbers());
        expect(updated.skipped?.numbers()).toEqual(joined.skipped?.numbers());
        one = advanced(one, joined);
        two = advanced(two, { ...slopes, ...updated });
        for (const [input, tensor] of Object.entries(one)) {
          expect(two[input]?.numbers(), input).toEqual(tensor.numbers());
        }
      }
    });
  }

  it("may average gradients between: two halves of a batch are the whole", async () => {
    const model = await readModel("models/mlp.onnx");
    const options = { objective: crossEntropy(), optimizer: sgd() };
    const half = await buildSplitStep(model, { ...options, batch: 4 });
    const whole = await buildSplitStep(model, { ...options, batch: 8 });
    const [halves, all] = [await opened(half.gradients), await opened(whole.gradients)];
    const state = await (await opened(initialState({ ...half, model: half.update })))({});
    const parts = [
      await halves({ ...state, ...batch(0, 8, 0, 4) }),
      await halves({ ...state, ...batch(0, 8, 4, 8) }),
    ];
    const expected = await all({ ...state, ...batch(0, 8) });
    for (const { gradient } of half.ports.parameters) {
      const [a, b] = parts.map((part) => part[gradient]?.numbers() ?? []);
      const wanted = expected[gradient]?.numbers() ?? [];
      expect(wanted, gradient).not.toHaveLength(0);
      const largest = Math.max(
        ...wanted.map((value, i) => Math.abs(((a?.[i] ?? 0) + (b?.[i] ?? 0)) / 2 - value)),
      );
      expect(largest, gradient).toBeLessThan(1e-6);
    }
  });

  it("hands gradients out as they are before the optimizer changes them", async () => {
    const model = await readModel("models/mlp.onnx");
    const gradientsBefore = async (optimizer: Optimizer) =>
      encodeModel(
        (await buildSplitStep(model, { objective: crossEntropy(), optimizer, batch: 4 })).gradients,
      );
    expect(await gradientsBefore(chain(clipByValue(1e-3), sgd()))).toEqual(await gradientsBefore(adamw()));
  });
});

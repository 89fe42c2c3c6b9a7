import { describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { Model, meanSquaredError, namedDataset, sgd, Trainer, type TrainerOptions } from "../../src/index.ts";
import { chain, clipByGlobalNorm, optimizerNamed, scaleByTrustRatio } from "../../src/optimizers/public.ts";
import { optimizerFactories } from "../../src/optimizers/table.ts";
import type { OptimizerOptions } from "../../src/optimizers/transformation.ts";
import type { TrainerState } from "../../src/programs/trainer-state.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { referenceSteps, runSteps } from "../optimizers/update-runner.ts";
import { data, type Ended, expectDefined, features, samples, train, units, wave } from "./hostile-run.ts";

describe("optimizers", () => {
  /** x → Gemm → Relu → Gemm: gradients grow with the data. */
  function network(): Model {
    const b = new GraphBuilder(18);
    const first = [b.input("x", ["batch", features]), b.weight("w1", [features, 4]), b.weight("b1", [4])];
    const h = b.op("Relu", [b.op("Gemm", first, "h")], "t");
    b.output(b.op("Gemm", [h, b.weight("w2", [4, units]), b.weight("b2", [units])], "y"));
    return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
  }
  const y = { data: Float32Array.from({ length: samples * units }, (_, i) => wave(i)), shape: [units] };
  const dataset = (x: (i: number) => number) => {
    const numbers = Float32Array.from({ length: samples * features }, (_, i) => x(i));
    return namedDataset({ inputs: { x: { data: numbers, shape: [features] } }, labels: y });
  };
  /** Runs on data of some kinds, each from the same state. */
  async function ended(options: Partial<TrainerOptions>, kinds: readonly string[], steps = 2) {
    const base = { objective: meanSquaredError(), batch: samples, threads: 1, learningRate: 0.01 };
    const trainer = await Trainer.create(network(), { ...base, ...options });
    const before = await trainer.readState();
    const results: (Ended & { readonly before: TrainerState })[] = [];
    for (const kind of kinds) {
      trainer.takeOver(before);
      const result = await train(trainer, dataset(data[kind] as (i: number) => number), steps);
      expectDefined(result);
      results.push({ ...result, before });
    }
    await trainer.release();
    return results;
  }
  const numbersOf = ({ parameters }: TrainerState) => [...parameters.values()].map((one) => one.numbers());
  const names = optimizerFactories.map(({ definition }) => definition.name);

  test.each(names)("%s: data, and learning rates of 0 and 1e9", async (name) => {
    const optimizer = optimizerNamed(name);
    await ended({ optimizer }, Object.keys(data));
    for (const learningRate of [0, 1e9]) {
      const results = await ended({ optimizer, learningRate }, ["plain"], learningRate > 0 ? 3 : 1);
      if (learningRate > 0) continue;
      for (const { state, before } of results) expect(numbersOf(state)).toEqual(numbersOf(before));
    }
  });

  /** The borders of options, and beyond them: refused, or defined. */
  const borders = { beta: [0, 0.99999994], weightDecay: [3e38], divisor: [1e-30] } as const;
  const kindOf: Readonly<Record<string, keyof typeof borders>> = {
    ...{ beta1: "beta", beta2: "beta", alpha: "beta", momentum: "beta" },
    ...{ weightDecay: "weightDecay", epsilon: "divisor", clip: "divisor" },
  };
  test.each(names)("%s: betas, ε and weight decay at their borders", async (name) => {
    const { defaults } =
      optimizerFactories.find(({ definition }) => definition.name === name)?.definition ?? {};
    for (const option of Object.keys(defaults ?? {})) {
      const kind = kindOf[option];
      if (!kind) continue;
      const beyond = { beta: [-1e-9, 1, 0.99999999], weightDecay: [-1, 1e39], divisor: [0, 1e-44] }[kind];
      for (const value of beyond)
        expect(() => optimizerNamed(name, { [option]: value }), `${option}=${value}`).toThrow(option);
      for (const value of borders[kind]) {
        const optimizer = optimizerNamed(name, { [option]: value } as OptimizerOptions);
        await ended({ optimizer }, ["plain", "zero"]);
      }
    }
  });

  test.each(names)("%s: zero, denormal, large and equal gradients as in float64", async (name) => {
    const start = [0.5, -0.25, 0, 1, 2, -3];
    const parameter = { name: "w", type: "float" as const, shape: [3, 2], start };
    const gradients = [() => 0, () => 1e-42, () => 1, (i: number) => 1e8 * (1 + i)];
    const steps = gradients.map((of) => ({ gradients: [start.map((_, i) => of(i))], learningRate: 0.01 }));
    const matrix = { matrix: { unitAxis: 1, groups: 1, isOutput: false } as const };
    const given = [{ ...parameter, ...matrix }];
    const [found, expected] = [
      await runSteps(optimizerNamed(name), given, steps),
      referenceSteps(optimizerNamed(name), given, steps),
    ];
    for (const [i, { parameters }] of found.entries()) {
      const right = expected[i]?.parameters[0] ?? [];
      const size = Math.max(1, ...right.map(Math.abs));
      for (const [k, value] of (parameters[0] ?? []).entries())
        expect(Math.abs(value - (right[k] ?? Number.NaN)) / size).toBeLessThan(1e-5);
    }
  });

  test("updates whose norm overflows end the run instead of becoming 0", async () => {
    for (const first of [clipByGlobalNorm(1), scaleByTrustRatio()]) {
      const [result] = await ended({ optimizer: chain(first, sgd()) }, ["1e18"], 1);
      expect(result?.error).toMatch(
        /after step 1, "\w+" holds NaN at \[\d.*though the loss is finite; the state at the beginning was restored/,
      );
      expect(result && numbersOf(result.state)).toEqual(result && numbersOf(result.before));
    }
  });
});

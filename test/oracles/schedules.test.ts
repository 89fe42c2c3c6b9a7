import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { namedDataset } from "../../src/data/array-dataset.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { adam, adamw, crossEntropy, Model, meanSquaredError, sgd, so, Trainer } from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { lion } from "../../src/optimizers/public.ts";
import { parseSchedule, scheduleNames } from "../../src/schedules/table.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { uniform } from "../helpers/lcg.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { network } from "../runtime/small-run.ts";

/** Learning rates by PyTorch and Hugging Face, from a rate of 1; written by scripts/oracles/schedules.py. */
const { steps, stepsPerEpoch, factors, momenta, cycled, losses, plateaus } = JSON.parse(
  readFileSync("test/fixtures/schedules.json", "utf8"),
) as {
  readonly steps: number;
  readonly stepsPerEpoch: number;
  /** The rate of each step. */
  readonly factors: Readonly<Record<string, readonly number[]>>;
  /** The momentum of each step. */
  readonly momenta: Readonly<Record<string, readonly number[]>>;
  /** Losses of a parameter's updates while the momentum moves, by optimizer. */
  readonly cycled: Readonly<Record<string, readonly number[]>>;
  /** The loss after each epoch; null is NaN. */
  readonly losses: readonly (number | null)[];
  /** The rate of each epoch, and of the one after the last. */
  readonly plateaus: Readonly<Record<string, readonly number[]>>;
};

describe("schedules over a whole run are PyTorch's", () => {
  test.each(Object.entries(factors))("%s", (text, expected) => {
    const schedule = parseSchedule(text);
    expect(expected).toHaveLength(steps);
    for (const [i, factor] of expected.entries()) {
      expect(schedule(i + 1, steps, { stepsPerEpoch }), `step ${i + 1}`).toBeCloseTo(factor, 12);
    }
  });

  test.each(Object.entries(plateaus))("%s", (text, expected) => {
    const schedule = parseSchedule(text);
    const all = losses.map((loss, i) => ({ step: (i + 1) * stepsPerEpoch, loss: loss ?? Number.NaN }));
    expect(new Set(expected).size).toBeGreaterThan(1);
    for (const [epoch, factor] of expected.entries()) {
      // What a run has seen by then, and what a checkpoint of a later epoch holds.
      for (const validation of [all.slice(0, epoch), all]) {
        const run = { stepsPerEpoch, validation };
        const within = [1, stepsPerEpoch].map((step) => schedule(epoch * stepsPerEpoch + step, 1000, run));
        for (const one of within) expect(one, `epoch ${epoch + 1}`).toBeCloseTo(factor, 14);
      }
    }
  });

  test.each(Object.entries(momenta))("the momentum of %s", (text, expected) => {
    const { momentum } = parseSchedule(text);
    for (const [i, one] of expected.entries()) {
      expect(momentum?.(i + 1, steps, { stepsPerEpoch }), `step ${i + 1}`).toBeCloseTo(one, 12);
    }
  });

  const optimizers = {
    sgd: sgd({ momentum: 0.9, nesterov: true, weightDecay: 0.01 }),
    adam: adam(),
    adamw: adamw(),
  };

  test.each(Object.entries(cycled))("%s with a momentum that moves", async (name, expected) => {
    const b = new GraphBuilder(18);
    const start = Tensor.float("start", [1, 6], uniform("cycled", 6));
    const product = b.op("MatMul", [b.input("x", ["batch", 1]), b.graph.addInitializer(start)], "y");
    b.graph.addOutput(product);
    const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
    const once = uniform("cycled.target", 6);
    const target = { data: Float32Array.from({ length: 24 * 6 }, (_, at) => once[at % 6] ?? 0), shape: [6] };
    const data = namedDataset({
      inputs: { x: { data: new Float32Array(24).fill(1), shape: [1] } },
      labels: target,
    });
    for (const stepsPerRun of [1, 4]) {
      const trainer = await Trainer.create(model, {
        ...{
          objective: meanSquaredError(),
          optimizer: optimizers[name as keyof typeof optimizers],
          batch: 1,
        },
        ...{ learningRate: 0.1, schedule: "one-cycle:cycle-momentum=true,base-momentum=0.7" },
        ...{ threads: 1, stepsPerRun },
      });
      const found: number[] = [];
      for await (const { event, loss } of trainer.fit(data, { epochs: 1 })) {
        if (event === "step") found.push(loss);
      }
      await trainer.release();
      expect(maxDifference(found, expected)).toBeLessThan(2e-6);
    }
  });

  test("a figure that is better when it rises is followed upwards", () => {
    const validation = [0.5, 0.6, 0.7, 0.8, 0.8].map((accuracy, i) => ({
      step: 10 * (i + 1),
      loss: i,
      accuracy,
    }));
    const figures = new Map([
      ["loss", "lower"],
      ["accuracy", "higher"],
    ] as const);
    const at = (text: string) => parseSchedule(text)(51, 100, { stepsPerEpoch: 10, validation, figures });
    expect(at("plateau:monitor=val_accuracy,patience=0")).toBeCloseTo(0.1, 12);
    expect(at("plateau:patience=0")).toBeCloseTo(1e-4, 12);
    expect(at("plateau:patience=0,mode=max")).toBe(1);
    expect(() => at("plateau:monitor=f1")).toThrow('follows "f1", but this run computes loss, accuracy');
  });

  test.each([
    ["one-cycle:base-momentum=0.8", "have no effect without cycle-momentum=true"],
    ["one-cycle:cycle-momentum=yes", "must be true or false, not yes"],
    ["plateau:mode=up", "must be min, max or auto, not up"],
  ])("%s is refused", (text, words) => {
    expect(() => parseSchedule(text)).toThrow(words);
  });

  test("a momentum that nothing reads is refused", async () => {
    const own = { schedule: "one-cycle:cycle-momentum=true", batch: 8 } as const;
    await expect(
      Trainer.create(network(), { ...own, objective: crossEntropy(), optimizer: lion() }),
    ).rejects.toThrow("the optimizer lion has none that can be moved");
    const penalized = {
      penalties: [so()],
      penaltySchedule: own.schedule,
      batch: 8,
      objective: crossEntropy(),
    };
    await expect(Trainer.create(network(), penalized)).rejects.toThrow("not with a penalty's");
  });

  test("none is left out but the one that is not PyTorch's", () => {
    const compared = [...Object.keys(factors), ...Object.keys(plateaus)].map((text) => text.split(":")[0]);
    expect(scheduleNames.filter((name) => !compared.includes(name))).toEqual(["srip"]);
  });
});

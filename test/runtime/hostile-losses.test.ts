import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { type Dataset, Model, meanSquaredError, namedDataset, sgd, Trainer } from "../../src/index.ts";
import {
  binaryCrossEntropy,
  binaryFocal,
  causalLm,
  combined,
  contrastive,
  cosine,
  cosineSimilarity,
  crossEntropy,
  distillation,
  huber,
  klDivergence,
  l1,
  maskedLm,
  type Objective,
  smoothL1,
  triplet,
} from "../../src/losses/public.ts";
import { objectiveNames } from "../../src/losses/table.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { penaltyDefinitions, penaltyNamed } from "../../src/penalties/table.ts";
import type { TrainerState } from "../../src/programs/trainer-state.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import {
  data,
  expectDefined,
  features,
  isFiniteState,
  places,
  samples,
  train,
  units,
  wave,
} from "./hostile-run.ts";

describe("losses", () => {
  const classes = (i: number) => i % units;
  const shares = (i: number) => [0.2, 0.3, 0.5][i % 3] as number;
  const yesNo = (i: number) => i % 2;

  /** A loss, its labels, and the labels beside the usual ones that it takes. */
  interface Case {
    readonly objective: Objective;
    readonly label?: (i: number) => number;
    readonly perSample?: number;
    readonly tokens?: true;
    readonly siamese?: number;
    readonly takes?: readonly number[];
  }
  const number = { label: wave, perSample: units, takes: [-1, 0.5] };
  const clazz = { label: classes };
  const cases: Readonly<Record<string, Case>> = {
    "cross-entropy": { objective: crossEntropy(), ...clazz },
    "cross-entropy of shares": {
      objective: crossEntropy({ labels: "probabilities" }),
      ...{ label: shares, perSample: units },
    },
    "focal cross-entropy": { objective: crossEntropy({ focus: 2 }), ...clazz },
    mse: { objective: meanSquaredError(), ...number },
    l1: { objective: l1(), ...number },
    bce: { objective: binaryCrossEntropy(), label: yesNo, perSample: units, takes: [0.5] },
    "binary-focal": { objective: binaryFocal(), label: yesNo, perSample: units, takes: [0.5] },
    huber: { objective: huber(), ...number },
    "smooth-l1": { objective: smoothL1(), ...number },
    cosine: { objective: cosine(), ...number },
    kl: { objective: klDivergence(), label: shares, perSample: units },
    distillation: { objective: distillation(), ...number, takes: [-1, 0.5, 1e38] },
    "causal-lm": { objective: causalLm(), ...clazz, perSample: places, tokens: true },
    "masked-lm": { objective: maskedLm(), ...clazz, perSample: places, tokens: true },
    contrastive: { objective: contrastive(), siamese: 2 },
    infonce: { objective: contrastive({ symmetric: true }), siamese: 2 },
    "contrastive of classes": { objective: contrastive(), ...clazz, takes: [-1] },
    triplet: { objective: triplet(), siamese: 3 },
    "triplet by cosine": { objective: triplet({ distance: "cosine" }), siamese: 3 },
    "triplet of classes": { objective: triplet(), ...clazz, takes: [-1] },
    "cosine-similarity": { objective: cosineSimilarity(), label: wave, siamese: 2, takes: [-1, 0.5] },
  };

  /** x → MatMul → Tanh → MatMul → y: [batch, 3], or [batch, 2, 3] for tokens. */
  function network(tokens: boolean): Model {
    const b = new GraphBuilder(18);
    const x = b.input("x", ["batch", ...(tokens ? [places] : []), features]);
    const h = b.op("Tanh", [b.op("MatMul", [x, b.weight("w1", [features, 4])], "h")], "t");
    b.output(
      b.op("Add", [b.op("MatMul", [h, b.weight("w2", [4, units])], "m"), b.weight("bias", [units])], "y"),
    );
    return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
  }

  function dataset(
    { label, perSample = 1, tokens, siamese }: Case,
    x: (i: number) => number,
    y = label,
    isLate = false,
  ): Dataset {
    const shape = [...(siamese ? [siamese] : []), ...(tokens ? [places] : []), features];
    const numbers = new Float32Array(samples * shape.reduce((a, b) => a * b));
    const fill = () => numbers.set(Float32Array.from(numbers, (_, i) => x(i)));
    if (!isLate) fill();
    const labels = y && Float64Array.from({ length: samples * perSample }, (_, i) => y(i));
    const whole = labels?.every((one) => Number.isInteger(one) && Math.abs(one) < 1e9) && label !== wave;
    const made = namedDataset({
      inputs: { x: { data: numbers, shape } },
      ...(labels && {
        labels: { data: whole ? Int32Array.from(labels) : labels, shape: perSample > 1 ? [perSample] : [] },
      }),
    });
    // A source that was looked through when it was opened may give others later.
    if (isLate) fill();
    return made;
  }

  test.each<[string, Objective, Float32Array | Int32Array, number]>([
    ["a mask of numbers", meanSquaredError(), new Float32Array(samples * units).fill(0.5), units],
    ["a mask of vectors", cosine(), new Float32Array(samples * units).fill(0.5), 1],
    ["a mask of classes", crossEntropy({ classWeights: [1, 2, 3] }), new Int32Array(samples), 1],
    [
      "ignored classes",
      crossEntropy({ ignoreIndex: 0, classWeights: [1, 2, 3] }),
      new Int32Array(samples),
      0,
    ],
  ])(
    "a batch in which nothing counts has the loss 0 and changes nothing: %s",
    async (_, objective, y, masks) => {
      const x = {
        data: Float32Array.from({ length: samples * features }, (_, i) => wave(i)),
        shape: [features],
      };
      const mask = { data: new Int32Array(samples * masks), shape: masks > 1 ? [masks] : [] };
      const given = namedDataset({
        inputs: { x, ...(masks > 0 && { mask }) },
        labels: { data: y, shape: y.length > samples ? [units] : [] },
      });
      const trainer = await Trainer.create(network(false), {
        objective: masks > 0 ? combined([{ objective, mask: "mask" }]) : objective,
        ...{ batch: samples, threads: 1, optimizer: sgd(), learningRate: 0.1 },
      });
      const before = await trainer.readState();
      const { loss, error, state } = await train(trainer, given);
      expect([loss, error]).toEqual([0, ""]);
      for (const [name, tensor] of state.parameters)
        expect(tensor.numbers()).toEqual(before.parameters.get(name)?.numbers());
      expect((await trainer.evaluate(given)).loss).toBe(0);
      await trainer.release();
    },
  );

  test("each one is here", () => {
    expect([...new Set(Object.values(cases).map(({ objective }) => objective.name))].sort()).toEqual(
      expect.arrayContaining(objectiveNames.filter((name) => name !== "infonce" && name !== "info-nce")),
    );
  });

  describe.each(Object.entries(cases))("%s", (_, one) => {
    const { objective, label, siamese, takes = [] } = one;
    let trainer: Trainer;
    let start: TrainerState;
    beforeAll(async () => {
      const options = { objective, batch: samples, threads: 1, optimizer: sgd(), learningRate: 0.1 };
      trainer = await Trainer.create(network(one.tokens ?? false), {
        ...options,
        ...(siamese && { siamese }),
      });
      start = await trainer.readState();
    });
    afterAll(() => trainer.release());
    const from = (given: () => Dataset, steps?: number) => {
      trainer.takeOver({ parameters: start.parameters });
      return train(trainer, given(), steps);
    };

    test("data", async () => {
      for (const kind of ["plain", "1e38", "denormal", "constant", "zero"]) {
        const given = dataset(one, data[kind] as (i: number) => number);
        trainer.takeOver({ parameters: start.parameters });
        const expected = await trainer.evaluate(given);
        const { loss = Number.NaN, error, state } = await from(() => given);
        expect([kind, error, isFiniteState(state)]).toEqual([kind, "", true]);
        // The graph's float32 beside the float64 of evaluations.
        expect(Math.abs(loss - expected.loss), kind).toBeLessThan(1e-5 * (1 + expected.loss));
      }
      expect(() => dataset(one, (i) => (i === 4 ? Number.NaN : 1))).toThrow(/x holds NaN in sample/);
      // A causal model's last place predicts nothing, but the gradient meets its NaN.
      const late = await from(() => dataset(one, () => Number.NaN, label, true));
      expectDefined(late);
      expect(late.error).toMatch(/the loss became NaN at step/);
      const infinite = await from(() => dataset(one, () => Number.POSITIVE_INFINITY, label, true));
      expect(infinite.error).toMatch(/x: input "x" .* the array holds Infinity/);
    });

    if (label)
      test("labels", async () => {
        for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
          const given = () => dataset(one, wave, (i) => (i === 1 ? wrong : (label?.(i) ?? 0)));
          expect(given).toThrow(/labels holds (NaN|-?Infinity) in sample \d \(element \d\)/);
        }
        for (const odd of [-1, 0.5, 1e38, 1e39]) {
          const ended = await from(() => dataset(one, wave, (i) => (i === 1 ? odd : (label?.(i) ?? 0))));
          expect(isFiniteState(ended.state)).toBe(true);
          if (takes.includes(odd)) expect([odd, ended.error]).toEqual([odd, ""]);
          // Numbers that fit float32, and losses that do not.
          else if (odd === 1e38 && takes.includes(0.5) && !ended.error.includes("labels"))
            expectDefined(ended);
          else expect(ended.error).toMatch(/labels(: | holds).*(-1|0\.5|1e\+3[89]|floats|sum to)/);
        }
      });
  });
});

describe("penalties", () => {
  const weights: Readonly<Record<string, (i: number) => number>> = {
    ...data,
    "1e38": (i) => 1e38 * wave(i),
    "1e-25": (i) => 1e-25 * wave(i),
    "equal units": (i) => wave(i % 8),
    sparse: (i) => (i % 7 === 0 ? 1 : 0),
  };
  /** x [batch, 2, 3, 3] → Conv → Tanh → Gemm. */
  function network(): Model {
    const b = new GraphBuilder(18);
    const x = b.input("x", ["batch", 2, 3, 3]);
    const c = b.op("Conv", [x, b.weight("conv", [4, 2, 2, 2]), b.weight("conv.bias", [4])], "c");
    const h = b.op("Flatten", [b.op("Tanh", [c], "t")], "f");
    b.output(b.op("Gemm", [h, b.weight("fc", [16, units]), b.weight("fc.bias", [units])], "y"));
    return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
  }
  const y = { data: Float32Array.from({ length: samples * units }, (_, i) => wave(i)), shape: [units] };
  const numbers = Float32Array.from({ length: samples * 18 }, (_, i) => wave(i));
  const dataset = namedDataset({ inputs: { x: { data: numbers, shape: [2, 3, 3] } }, labels: y });

  test.each(penaltyDefinitions.map(({ name }) => name))("%s", async (name) => {
    const trainer = await Trainer.create(network(), {
      ...{ objective: meanSquaredError(), batch: samples, threads: 1, optimizer: sgd(), learningRate: 0.01 },
      penalties: [{ penalty: penaltyNamed(name) }],
    });
    for (const [kind, weight] of Object.entries(weights)) {
      const parameters = [...trainer.state().parameters].map(([own, { dims, size }]) => {
        const filled = Float32Array.from({ length: size }, (_, i) => weight(i));
        return [own, Tensor.float(own, dims, filled)] as const;
      });
      trainer.takeOver({ parameters: new Map(parameters) });
      const result = await train(trainer, dataset, 2);
      expectDefined(result);
      if (!kind.startsWith("1e") || kind === "1e-25") expect([kind, result.error]).toEqual([kind, ""]);
    }
    await trainer.release();
  });
});

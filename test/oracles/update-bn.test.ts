import { expect, test } from "vitest";
import { shuffledIndices } from "../../src/data/batches.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  crossEntropy,
  Model,
  predict,
  Tensor,
  Trainer,
  updateBatchNorm,
} from "../../src/index.ts";
import { sgd } from "../../src/optimizers/sgd.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { uniform } from "../helpers/lcg.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { fixture } from "./references.ts";

/** See scripts/oracles/update_bn.py. */
const figures = fixture<{
  readonly samples: number;
  readonly batch: number;
  readonly lr: number;
  readonly statistics: readonly { readonly mean: readonly number[]; readonly variance: readonly number[] }[];
  readonly outputs: readonly number[];
}>("batch-norm/update.json");
const { samples, batch, lr } = figures;

/** The script's network. */
function network(): Model {
  const b = new GraphBuilder(18);
  const tensor = (name: string, dims: readonly number[], values: Float32Array) =>
    b.graph.addInitializer(Tensor.float(name, dims, values));
  let x = b.input("x", ["batch", 5]);
  for (const [layer, units, inputs] of [
    [0, 6, 5],
    [3, 4, 6],
  ] as const) {
    const weight = tensor(`w${layer}`, [units, inputs], uniform(`update_bn.w${layer}`, units * inputs, 1));
    const y = b.op("Gemm", [x, weight], `fc${layer}`, { transB: 1 });
    const norm = [
      ["scale", 1],
      ["bias", 0],
      ["mean", 0],
      ["variance", 1],
    ].map(([part, start]) =>
      tensor(`bn${layer}.${part}`, [units], new Float32Array(units).fill(start as number)),
    );
    x = b.op("Relu", [b.op("BatchNormalization", [y, ...norm], `bn${layer}`)], `relu${layer}`);
  }
  b.output(b.op("Gemm", [x, tensor("w6", [3, 4], uniform("update_bn.w6", 12, 1))], "logits", { transB: 1 }));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

/** The script's samples, so that the run's order of the first epoch is the script's. */
function dataset() {
  const given = uniform("update_bn.x", samples * 5, 2);
  const [x, y] = [new Float32Array(given.length), new Int32Array(samples)];
  shuffledIndices(0, 0, samples).forEach((place, i) => {
    x.set(given.subarray(i * 5, i * 5 + 5), place * 5);
    y[place] = i % 3;
  });
  return { data: arrayDataset(x, y, [5]), first: arrayDataset(given.slice(0, 20), new Int32Array(4), [5]) };
}

test("the averaged weights get the statistics and the answers of PyTorch's update_bn", async () => {
  const { data, first } = dataset();
  const trainer = await Trainer.create(network(), {
    ...{ objective: crossEntropy(), optimizer: sgd(), learningRate: lr, batch, swa: 1 },
    runningVariance: "torch",
  });
  for await (const _ of trainer.fit(data, { epochs: 1 }));
  const before = trainer.export();
  await trainer.release();
  const updated = await updateBatchNorm(before, data, { batch, runningVariance: "torch" });
  const numbers = (model: Model, name: string) =>
    Tensor.fromProto((model.proto.graph?.initializer ?? []).find((one) => one.name === name) ?? {}).numbers();
  for (const [i, layer] of [0, 3].entries()) {
    for (const part of ["mean", "variance"] as const) {
      const expected = figures.statistics[i]?.[part] ?? [];
      expect(maxDifference(numbers(updated, `bn${layer}.${part}`), expected)).toBeLessThan(1e-5);
      expect(maxDifference(numbers(before, `bn${layer}.${part}`), expected)).toBeGreaterThan(1e-2);
    }
  }
  const answers: number[] = [];
  for await (const { scores } of predict(updated, first, { objective: crossEntropy() })) {
    answers.push(...scores);
  }
  const rows = [0, 1, 2, 3].map((row) => figures.outputs.slice(3 * row, 3 * row + 3).map(Math.exp));
  const expected = rows.flatMap((row) => row.map((one) => one / row.reduce((a, b) => a + b, 0)));
  expect(maxDifference(answers, expected)).toBeLessThan(1e-5);
});

test("a model without running statistics is refused, and so are data that fill no batch", async () => {
  const b = new GraphBuilder(18);
  b.output(b.op("Relu", [b.input("x", ["batch", 5])], "y"));
  const { data } = dataset();
  const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
  await expect(updateBatchNorm(model, data)).rejects.toThrow(
    /no BatchNormalization whose running statistics/,
  );
});

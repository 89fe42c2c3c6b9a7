import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { beforeRecovery } from "../../src/batch-norm/fold-batch-norm.ts";
import { float } from "../../src/graph/attribute.ts";
import {
  arrayDataset,
  crossEntropy,
  decodeModel,
  encodeModel,
  evaluateModel,
  exportCheckpoint,
  foldBatchNorm,
  inject,
  Model,
  recoverBatchNorm,
  som,
  Tensor,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import { builtModel, GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

const samples = 24;

/** Data for an input of [batch, ...shape]. */
const dataOf = (shape: readonly number[]) =>
  arrayDataset(
    Float32Array.from(randomFloats("data", samples * shape.reduce((a, c) => a * c, 1)), (x) => 2 * x + 0.5),
    Int32Array.from({ length: samples }, (_, i) => i % 3),
    shape,
  );

interface Folded {
  readonly shape: readonly number[];
  readonly build: (b: GraphBuilder) => void;
  /** Shape [rows, units, positions] of the response "h". */
  readonly units: number;
}

/** A layer that exporters fold BatchNorm into, its response "h", and a classifier behind it. */
const folded: Readonly<Record<string, Folded>> = {
  Conv: {
    ...{ shape: [4, 5, 5], units: 6 },
    build: (b) => {
      const x = b.input("x", ["batch", 4, 5, 5]);
      pooled(b, b.op("Conv", [x, b.weight("conv.weight", [6, 4, 3, 3]), b.weight("conv.bias", [6])], "h"), 6);
    },
  },
  "Conv in groups": {
    ...{ shape: [4, 5, 5], units: 6 },
    build: (b) => {
      const inputs = [b.input("x", ["batch", 4, 5, 5]), b.weight("w", [6, 2, 3, 3]), b.weight("b", [6])];
      pooled(b, b.op("Conv", inputs, "h", { group: 2 }), 6);
    },
  },
  "depthwise Conv": {
    ...{ shape: [4, 5, 5], units: 4 },
    build: (b) => {
      const inputs = [b.input("x", ["batch", 4, 5, 5]), b.weight("w", [4, 1, 3, 3]), b.weight("b", [4])];
      pooled(b, b.op("Conv", inputs, "h", { group: 4 }), 4);
    },
  },
  "Conv in one dimension": {
    ...{ shape: [4, 9], units: 6 },
    build: (b) => {
      const inputs = [b.input("x", ["batch", 4, 9]), b.weight("w", [6, 4, 3]), b.weight("b", [6])];
      pooled(b, b.op("Conv", inputs, "h"), 6);
    },
  },
  "Conv and Add": {
    ...{ shape: [4, 5, 5], units: 6 },
    build: (b) => {
      const product = b.op(
        "Conv",
        [b.input("x", ["batch", 4, 5, 5]), b.weight("w", [6, 4, 3, 3])],
        "product",
      );
      pooled(b, b.op("Add", [product, b.weight("b", [1, 6, 1, 1])], "h"), 6);
    },
  },
  "ConvTranspose in groups": {
    ...{ shape: [4, 5, 5], units: 6 },
    build: (b) => {
      const inputs = [b.input("x", ["batch", 4, 5, 5]), b.weight("w", [4, 3, 2, 2]), b.weight("b", [6])];
      pooled(b, b.op("ConvTranspose", inputs, "h", { group: 2, strides: [2, 2] }), 6);
    },
  },
  "Gemm with factors": {
    ...{ shape: [7], units: 5 },
    build: (b) => {
      const inputs = [b.input("x", ["batch", 7]), b.weight("w", [5, 7]), b.weight("b", [5])];
      const factors = { alpha: { kind: "float", value: 0.5 }, beta: { kind: "float", value: 2 } } as const;
      classified(b, b.op("Gemm", inputs, "h", { transB: 1, ...factors }), 5);
    },
  },
  "MatMul and Add": {
    ...{ shape: [7], units: 5 },
    build: (b) => {
      const w = b.op("Transpose", [b.weight("w", [5, 7])], "wt", { perm: [1, 0] });
      const product = b.op("MatMul", [b.input("x", ["batch", 7]), w], "product");
      classified(b, b.op("Add", [b.weight("b", [5]), product], "h"), 5);
    },
  },
};

type Inner = ReturnType<GraphBuilder["op"]>;

function pooled(b: GraphBuilder, h: Inner, units: number): void {
  const pool = b.op("GlobalAveragePool", [b.op("Relu", [h], "r")], "pool");
  logits(b, b.op("Flatten", [pool], "flat"), units);
}

const classified = (b: GraphBuilder, h: Inner, units: number): void =>
  logits(b, b.op("Relu", [h], "r"), units);

function logits(b: GraphBuilder, x: Inner, units: number): void {
  const y = b.op("Gemm", [x, b.weight("fc.weight", [3, units]), b.weight("fc.bias", [3])], "y", {
    transB: 1,
  });
  // The response is an output too, so that tests can read it; "h" itself stays an inner value.
  b.output(y);
}

const built = ({ build }: Folded): Model => {
  const b = new GraphBuilder(17);
  build(b);
  return builtModel(b);
};

const tensorsOf = (model: Model) =>
  new Map((model.proto.graph?.initializer ?? []).map((one) => [one.name ?? "", Tensor.fromProto(one)]));

/** The model with an inner value as its only output. */
function withOutput(model: Model, name: string): Uint8Array {
  const copy = decodeModel(Uint8Array.from(encodeModel(model))).proto;
  if (copy.graph) copy.graph.output = [{ name } as never];
  return encodeModel(Model.fromProto(copy));
}

async function runOn(model: Uint8Array, { shape }: Folded, name: string): Promise<Tensor> {
  const numbers = Float32Array.from(
    randomFloats("data", samples * shape.reduce((a, c) => a * c, 1)),
    (x) => 2 * x + 0.5,
  );
  const results = await runModel(model, { x: Tensor.float("x", [samples, ...shape], numbers) });
  return results[name] as Tensor;
}

const farthest = (a: readonly number[], b: readonly number[]): number => {
  expect(b).toHaveLength(a.length);
  return Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number)))) / Math.max(...a.map(Math.abs), 1e-9);
};

describe("recoverBatchNorm", () => {
  for (const [title, one] of Object.entries(folded)) {
    test(`${title}: statistics, the same function, and back to the byte`, async () => {
      const model = built(one);
      const messages: string[] = [];
      const options = { batch: 8, onMessage: (message: string) => messages.push(message) };
      const recovered = await recoverBatchNorm(model, dataOf(one.shape), options);
      expect(messages).toEqual([
        expect.stringMatching(/behind 1 of 2 layers from 24 samples: .*at the start/),
      ]);

      // Mean and variance of the response, by a plain loop in float64.
      const h = await runOn(withOutput(model, "h"), one, "h");
      const positions = h.size / samples / one.units;
      const values = Array.from({ length: one.units }, (_, unit) =>
        h.numbers().filter((_number, i) => Math.floor(i / positions) % one.units === unit),
      );
      const mean = values.map((all) => all.reduce((a, c) => a + c, 0) / all.length);
      const variance = values.map(
        (all, i) => all.reduce((a, c) => a + (c - (mean[i] as number)) ** 2, 0) / all.length,
      );
      const [scale, bias, , running] = [...tensorsOf(recovered)]
        .filter(([name]) => name.includes(".batch_norm."))
        .map(([, tensor]) => tensor.numbers());
      expect(farthest(mean, bias ?? [])).toBeLessThan(1e-5);
      expect(farthest(variance, running ?? [])).toBeLessThan(1e-5);
      const deviations = variance.map((v) => Math.sqrt(v + 1e-5));
      expect(farthest(deviations, scale ?? [])).toBeLessThan(1e-5);

      const outputs = [model, recovered].map((some) => runOn(encodeModel(some), one, "y"));
      const [before, after] = await Promise.all(outputs);
      expect(farthest(before?.numbers() ?? [], after?.numbers() ?? [])).toBeLessThan(1e-5);

      expect(encodeModel(beforeRecovery(recovered))).toEqual(encodeModel(model));
      const back = await foldBatchNorm(recovered);
      expect(back.proto.graph?.node).toEqual(model.proto.graph?.node);
      expect(back.proto.metadataProps).toEqual(model.proto.metadataProps);
      const kept = tensorsOf(model);
      expect([...tensorsOf(back).keys()]).toEqual([...kept.keys()]);
      for (const [name, tensor] of tensorsOf(back)) {
        expect(tensor.dims).toEqual(kept.get(name)?.dims);
        expect(farthest(kept.get(name)?.numbers() ?? [], tensor.numbers())).toBeLessThan(1e-5);
      }
    });
  }

  for (const title of ["Conv", "ConvTranspose in groups", "MatMul and Add"]) {
    test(`${title}: trained, what is exported computes what was evaluated`, async () => {
      const one = folded[title] as Folded;
      const model = built(one);
      const data = dataOf(one.shape);
      const recovered = await recoverBatchNorm(model, data, { batch: 8 });
      const trainer = await Trainer.create(recovered, {
        ...{ objective: crossEntropy(), penalties: [som()], batch: 8, learningRate: 0.05 },
      });
      for await (const _ of trainer.fit(data, { epochs: 3 }));
      const { loss } = await trainer.evaluate(data);
      const trained = trainer.export();
      await trainer.release();
      expect(trained.proto.graph?.node).toEqual(model.proto.graph?.node);
      expect([...tensorsOf(trained).keys()]).toEqual([...tensorsOf(model).keys()]);
      expect((await evaluateModel(trained, data)).loss).toBeCloseTo(loss, 5);
      const before = await evaluateModel(model, data);
      expect(Math.abs(before.loss - loss)).toBeGreaterThan(1e-3);
    });
  }

  describe("which layers", () => {
    /** Three convolutions: one after another, one on single points, one that a LayerNormalization follows. */
    const several = (): Model => {
      const b = new GraphBuilder(17);
      const x = b.input("x", ["batch", 4, 5, 5]);
      const conv = (from: Inner, name: string, size: number) =>
        b.op(
          "Conv",
          [from, b.weight(`${name}.weight`, [4, 4, size, size]), b.weight(`${name}.bias`, [4])],
          name,
        );
      const first = b.op("Relu", [conv(x, "first", 3)], "r");
      const gate = b.op("Sigmoid", [conv(b.op("GlobalAveragePool", [first], "p"), "squeeze", 1)], "gate");
      const gated = b.op("Mul", [first, gate], "gated");
      const rows = b.op("Transpose", [conv(gated, "normalized", 1)], "rows", { perm: [0, 2, 3, 1] });
      const norm = b.op("LayerNormalization", [rows, b.weight("s", [4]), b.weight("o", [4])], "norm");
      const image = b.op("Transpose", [norm], "image", { perm: [0, 3, 1, 2] });
      b.output(b.op("GlobalAveragePool", [b.op("Relu", [conv(image, "last", 1)], "end")], "y"));
      return builtModel(b);
    };
    const gets = async (options: Parameters<typeof recoverBatchNorm>[2]) =>
      [...tensorsOf(await recoverBatchNorm(several(), dataOf([4, 5, 5]), { batch: 8, ...options })).keys()]
        .flatMap((name) => /^(.*)\.batch_norm\.scale$/.exec(name)?.[1] ?? [])
        .join();

    test("by their look, or as the caller says", async () => {
      expect(await gets({})).toBe("first");
      expect(await gets({ include: /first|last/ })).toBe("first,last");
      expect(await gets({ include: /first|last/, exclude: /first/ })).toBe("last");
      await expect(gets({ exclude: /first/ })).rejects.toThrow(
        /no layer reads as .*\(first: excluded; squeeze: its images are single points.*; normalized: LayerNorm/,
      );
      await expect(gets({ include: /conv9/ })).rejects.toThrow(/conv9 matches no layer/);
    });

    test("refused with the reason", async () => {
      const model = several();
      const data = dataOf([4, 5, 5]);
      await expect(recoverBatchNorm(model, data, { samples: 0 })).rejects.toThrow(/number of samples/);
      const injected = await inject(model, { penalties: [som()] });
      await expect(recoverBatchNorm(injected, data)).rejects.toThrow(/strip it first/);
      const recovered = await recoverBatchNorm(model, data);
      await expect(recoverBatchNorm(recovered, data)).rejects.toThrow(/has its BatchNorm back already/);
      const infinite = arrayDataset(new Float32Array(8 * 100).fill(3e38), new Int32Array(8), [4, 5, 5]);
      await expect(recoverBatchNorm(model, infinite)).rejects.toThrow(/layer "first" are no finite numbers/);
    });

    test.each([0, Number.POSITIVE_INFINITY])("not a Gemm whose bias counts %d times", async (beta) => {
      const b = new GraphBuilder(17);
      const operands = [b.input("x", ["batch", 4]), b.weight("fc.weight", [4, 3]), b.weight("fc.bias", [3])];
      b.output(b.op("Relu", [b.op("Gemm", operands, "fc", { beta: float(beta) })], "y"));
      const recovered = recoverBatchNorm(builtModel(b), dataOf([4]), { include: /fc/ });
      await expect(recovered).rejects.toThrow(new RegExp(`its bias counts ${beta} times \\(beta\\)`));
    });

    test("draws its samples by the seed", async () => {
      const some = (seed: number) =>
        recoverBatchNorm(several(), dataOf([4, 5, 5]), { samples: 8, seed }).then(encodeModel);
      expect(await some(1)).toEqual(await some(1));
      expect(await some(1)).not.toEqual(await some(2));
    });
  });

  describe("a run", () => {
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "sorth-batch-norm-"));
    });
    afterAll(() => rm(folder, { recursive: true }));

    test("resumes to the bit, and its checkpoint exports the same model", async () => {
      const one = folded.Conv as Folded;
      const data = dataOf(one.shape);
      const recovered = await recoverBatchNorm(built(one), data, { batch: 8 });
      const options: TrainerOptions = {
        ...{ objective: crossEntropy(), batch: 8, learningRate: 0.05, freeze: /conv\.weight/ },
        ...{ runningVariance: "torch", ema: 0.9 },
      };
      const whole = await Trainer.create(recovered, options);
      for await (const _ of whole.fit(data, { epochs: 4 }));
      const control = new AbortController();
      const begun = await Trainer.create(recovered, options);
      const fit = { epochs: 4, checkpoint: folder, signal: control.signal };
      for await (const event of begun.fit(data, fit))
        if (event.event === "step" && event.step === 5) control.abort();
      await begun.release();
      const resumed = await Trainer.resume(folder);
      for await (const _ of resumed.fit(data, { checkpoint: folder }));
      expect(encodeModel(resumed.export())).toEqual(encodeModel(whole.export()));
      expect(encodeModel(await exportCheckpoint(folder))).toEqual(encodeModel(whole.export()));
      await whole.release();
      await resumed.release();
    });
  });
});

import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  type AdapterLayer,
  adapterOf,
  addAdapters,
  buildStep,
  crossEntropy,
  inject,
  loadAdapter,
  Tensor,
  Trainer,
  type TrainerOptions,
  writeAdapter,
} from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { adalora, oLora, oplora } from "../../src/penalties/public.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { losses, network, train } from "../runtime/small-run.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());
const at = (name: string) => join(folder.path, name);

const earlier = await adapterOf(await addAdapters(network(), { rank: 2, seed: 9 }));
await writeAdapter(earlier, at("first"));
await writeAdapter(
  await adapterOf(await addAdapters(network(), { rank: 3, seed: 5, include: /fc1/ })),
  at("second"),
);

const options: TrainerOptions = {
  ...{ objective: crossEntropy(), batch: 8, threads: 1, learningRate: 0.02 },
  lora: { rank: 2, alpha: 3, scaling: "rslora" },
};
/** Σ |P·Aᵀ| over the layers. */
const overlap = async (trainer: Trainer): Promise<number> => {
  const { layers } = await adapterOf(trainer.export({ merge: false }));
  let sum = 0;
  for (const { module, down } of layers) {
    const before = earlier.layers.find((layer) => layer.module === module)?.down?.numbers() ?? [];
    const [rank = 0, inputs = 0] = down?.dims ?? [];
    const now = down?.numbers() ?? [];
    for (let i = 0; i < before.length; i += inputs) {
      for (let r = 0; r < rank; r++) {
        let product = 0;
        for (let j = 0; j < inputs; j++) product += Number(before[i + j]) * Number(now[r * inputs + j]);
        sum += Math.abs(product);
      }
    }
  }
  return sum;
};

test("penalties on adapters: reported, followed, resumed bit for bit", async () => {
  const penalized: TrainerOptions = {
    ...options,
    penalties: [
      { penalty: oLora({ adapter: `${at("first")},${at("second")}` }), weight: 2 },
      { penalty: oplora({ rank: 3 }), weight: 0.5 },
      { penalty: adalora(), exclude: /fc2/ },
    ],
  };
  const whole = await Trainer.create(network(), penalized);
  const before = await overlap(whole);
  const all = await losses(whole, train, { epochs: 2 });
  const plain = await Trainer.create(network(), options);
  await losses(plain, train, { epochs: 2 });
  expect(await overlap(whole)).toBeLessThan(0.5 * Math.min(before, await overlap(plain)));

  const first = await Trainer.create(network(), penalized);
  const controller = new AbortController();
  const some: number[] = [];
  for await (const event of first.fit(train, {
    epochs: 2,
    signal: controller.signal,
    checkpoint: at("run"),
  })) {
    if (event.event !== "step") continue;
    some.push(event.loss);
    expect(Object.keys(event.penalties)).toEqual(["o-lora", "oplora", "adalora"]);
    if (event.step === 9) controller.abort();
  }
  const resumed = await Trainer.resume(at("run"));
  const rest = await losses(resumed, train, { checkpoint: at("run") });
  expect([...some, ...rest]).toEqual(all);
  expect(equalBytes(resumed.export().bytes, whole.export().bytes)).toBe(true);
  for (const trainer of [whole, plain, first, resumed]) await trainer.release();
});

test("a penalty follows the scaling of an adapter", async () => {
  const { layers } = await adapterOf(await addAdapters(network(), { rank: 2, alpha: 3 }));
  const ones = (tensor: Tensor) => Tensor.float("", tensor.dims, new Float32Array(tensor.size).fill(1));
  const penaltyOf = async (scaling: "lora" | "rslora") => {
    const filled = layers.map((layer) =>
      "up" in layer ? { ...layer, up: ones(layer.up as Tensor) } : layer,
    );
    const model = await loadAdapter(network(), {
      ...earlier,
      rank: 2,
      alpha: 3,
      scaling,
      layers: filled as AdapterLayer[],
    });
    const { lora: _, ...bare } = options;
    const trainer = await Trainer.create(model, { ...bare, penalties: [oplora({ rank: 1 })] });
    for await (const event of trainer.fit(train, { maxSteps: 1 })) {
      if (event.event !== "step") continue;
      await trainer.release();
      return event.penalties.oplora ?? 0;
    }
    return 0;
  };
  // 3/√2 is √2 times 3/2, and the penalty is a sum of squares.
  expect((await penaltyOf("rslora")) / (await penaltyOf("lora"))).toBeCloseTo(2, 5);
});

test("where nothing can be compared is said", async () => {
  const create = (penalty: NonNullable<TrainerOptions["penalties"]>[number], own = options) =>
    Trainer.create(network(), { ...own, penalties: [penalty] });
  const { lora: _, ...bare } = options;
  await expect(create(oLora({ adapter: at("first") }), bare)).rejects.toThrow(
    /no layer .*fc1: no o-lora penalty: it acts on adapters \(train --lora\), and this layer has none/,
  );
  await expect(create(oLora())).rejects.toThrow(/o-lora compares with an earlier adapter: give its file/);
  await expect(create(oLora({ adapter: at("none") }))).rejects.toThrow(/cannot read the adapter/);
  await expect(
    create(oLora({ adapter: at("second") }), { ...options, lora: { include: /fc2/ } }),
  ).rejects.toThrow(/the earlier adapters of o-lora lie beside "fc1", the run's beside "fc2"/);
  await expect(create(oplora({ rank: 8 }))).rejects.toThrow(
    /has \d singular directions, and rank=8 leaves none/,
  );
  await expect(create(adalora(), { ...options, lora: { ia3: true } })).rejects.toThrow(
    /no layer .* can take/,
  );
  await expect(inject(network(), { penalties: [adalora()], batch: 8 })).rejects.toThrow(
    /it acts on adapters/,
  );
  await expect(
    buildStep(await addAdapters(network()), { ...bare, penalties: [oplora({ rank: 2 })] }),
  ).rejects.toThrow(/what it compares with is found when a Trainer begins/);
});

import { afterEach, describe, expect, it } from "vitest";
import { subset } from "../../src/data/dataset.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  adam,
  adamw,
  adamwOrt,
  arrayDataset,
  binaryCrossEntropy,
  crossEntropy,
  type Dataset,
  decodeModel,
  l1,
  loadMnist,
  Model,
  meanSquaredError,
  type Objective,
  type Optimizer,
  readModel,
  sgd,
  som,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { keepDevice, useGpu } from "../helpers/software-gpu.ts";

const missing = useGpu();
keepDevice(missing);
const trainers: Trainer[] = [];
afterEach(async () => {
  for (const trainer of trainers.splice(0)) await trainer.release();
});

/** Samples and samples per step. A software GPU takes a second and more for 16 samples of a convolutional network. */
const sizeOf = (name: string) => (name === "mlp" ? { samples: 64, batch: 16 } : { samples: 16, batch: 4 });
const shapes: Readonly<Record<string, readonly number[]>> = {
  mlp: [1, 28, 28],
  cnn: [1, 28, 28],
  pointnet: [3, 128],
};

const digits = (await loadMnist()).train;

/** Real digits for images: on noise, Adam turns rounding errors into steps (CPU against CPU with rows permuted as well). */
function data(name: string, kind: "class" | "values" = "class"): Dataset {
  const shape = shapes[name] ?? [];
  const { samples } = sizeOf(name);
  if (kind === "class" && name !== "pointnet") {
    return subset(
      digits,
      Uint32Array.from({ length: samples }, (_, i) => i),
    );
  }
  const x = uniform(`webgpu.${name}`, samples * shape.reduce((a, b) => a * b, 1));
  if (kind === "class") return arrayDataset(x, Int32Array.from(labels(`webgpu.${name}`, samples, 10)), shape);
  const y = uniform(`webgpu.${name}.y`, samples * 10).map((value) => (value > 0 ? 1 : 0));
  return arrayDataset(x, y, shape, { targetShape: [10] });
}

async function losses(name: string, options: TrainerOptions, dataset: Dataset, steps: number) {
  const { batch } = sizeOf(name);
  const trainer = await Trainer.create(await readModel(`models/${name}.onnx`), { batch, ...options });
  trainers.push(trainer);
  const found: number[] = [];
  for await (const event of trainer.fit(dataset, { epochs: steps, maxSteps: steps })) {
    if (event.event === "step") found.push(event.loss);
  }
  return { found, trainer };
}

/** The largest relative difference of two runs. */
const difference = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length
    ? Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? Number.NaN)) / Math.abs(value)))
    : Number.NaN;

describe("native WebGPU", () => {
  for (const name of ["mlp", "cnn", "pointnet"]) {
    for (const weight of [0, 0.1]) {
      it(`trains ${name} ${weight ? "with SOM" : "plain"} as the CPU does, all on the device`, async (context) => {
        context.skip(missing !== "", missing);
        const penalties = weight ? [{ penalty: som({ lambda1: 100 }), weight }] : [];
        // Biases in front of BatchNorm have no slope but rounding, which AdamW turns into whole steps of the learning rate.
        const learningRate = name === "mlp" ? 1e-3 : 1e-4;
        const options = { objective: crossEntropy(), optimizer: adamw(), penalties, learningRate };
        const steps = name === "mlp" ? 8 : 4;
        const cpu = await losses(name, options, data(name), steps);
        const gpu = await losses(name, { ...options, backend: "webgpu" }, data(name), steps);
        expect(gpu.trainer.backend).toBe("webgpu");
        expect(difference(cpu.found, gpu.found)).toBeLessThan(1e-4);
        const [expected, found] = [
          await cpu.trainer.evaluate(data(name)),
          await gpu.trainer.evaluate(data(name)),
        ];
        expect(Math.abs(found.loss - expected.loss) / expected.loss).toBeLessThan(1e-3);
      });
    }
  }

  const objectives: readonly [Objective, "class" | "values"][] = [
    [crossEntropy(), "class"],
    [meanSquaredError(), "values"],
    [l1(), "values"],
    [binaryCrossEntropy(), "values"],
  ];
  const optimizers: readonly Optimizer[] = [
    sgd(),
    sgd({ momentum: 0.9, nesterov: true, weightDecay: 0.01 }),
    adam({ weightDecay: 0.01 }),
    adamw(),
  ];
  for (const [i, [objective, kind]] of objectives.entries()) {
    for (const optimizer of optimizers.slice(i, i + 1)) {
      const title = `${objective.name}, ${optimizer.name} ${JSON.stringify(optimizer.options)}`;
      it(`${title} runs on the device`, async (context) => {
        context.skip(missing !== "", missing);
        const options = {
          objective,
          optimizer,
          penalties: [{ penalty: som({ lambda1: 100 }), weight: 0.01 }],
        };
        const cpu = await losses("mlp", options, data("mlp", kind), 5);
        const gpu = await losses("mlp", { ...options, backend: "webgpu" }, data("mlp", kind), 5);
        expect(difference(cpu.found, gpu.found)).toBeLessThan(1e-4);
      });
    }
  }

  // Opened with fallback to the CPU forbidden: every node is on the device. The optimizer is the same for every model.
  for (const name of ["mlp", "cnn", "pointnet"]) {
    for (const [objective] of objectives) {
      it(`${name} with ${objective.name} is whole on the device, with every optimizer`, async (context) => {
        context.skip(missing !== "", missing);
        for (const optimizer of name === "mlp" ? [...optimizers, adamwOrt()] : [adamw()]) {
          const trainer = await Trainer.create(await readModel(`models/${name}.onnx`), {
            ...{ objective, optimizer, batch: 16, backend: "webgpu", penalties: [{ penalty: som() }] },
          });
          await trainer.release();
        }
      });
    }
  }

  it("names what the device does not run, or runs it on the CPU and says so", async (context) => {
    context.skip(missing !== "", missing);
    const b = new GraphBuilder(18);
    const x = b.input("x", ["batch", 8]);
    const h = b.op("Gemm", [x, b.weight("w1", [8, 16]), b.weight("b1", [16])], "fc1");
    const limit = b.graph.addInitializer(Tensor.float("limit", [1], [1000]));
    const act = b.op("Mod", [h, limit], "act", { fmod: 1 });
    b.graph.addOutput(b.op("Gemm", [act, b.weight("w2", [16, 3])], "logits"));
    const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
    const options = { objective: crossEntropy(), batch: 8, backend: "webgpu" };
    await expect(Trainer.create(model, options)).rejects.toThrow(
      /webgpu does not run \d+ nodes?: Mod "act".*--allow-fallback/,
    );
    const messages: string[] = [];
    const trainer = await Trainer.create(model, {
      ...{ ...options, allowFallback: true, onMessage: (text: string) => messages.push(text) },
    });
    trainers.push(trainer);
    const clouds = arrayDataset(uniform("mod", 64 * 8), Int32Array.from(labels("mod", 64, 3)), [8]);
    const found: number[] = [];
    for await (const event of trainer.fit(clouds)) if (event.event === "step") found.push(event.loss);
    expect(messages.join("\n")).toMatch(/not on webgpu but on the CPU: \d+ nodes?: Mod "act"/);
    const cpu = await Trainer.create(model, { ...options, backend: "cpu" });
    trainers.push(cpu);
    const expected: number[] = [];
    for await (const event of cpu.fit(clouds)) if (event.event === "step") expected.push(event.loss);
    expect(difference(expected, found)).toBeLessThan(1e-4);
  });

  it("keeps the state on the device within an epoch, and has it at hand after one", async (context) => {
    context.skip(missing !== "", missing);
    const trainer = await Trainer.create(await readModel("models/mlp.onnx"), {
      ...{ objective: crossEntropy(), batch: 8, backend: "webgpu" },
    });
    trainers.push(trainer);
    const before = trainer.state().parameters.get("fc1.weight")?.numbers();
    let checked = 0;
    for await (const event of trainer.fit(data("mlp"), { epochs: 2 })) {
      if (event.event === "step" && event.step === 2) {
        expect(() => trainer.export()).toThrow(/step 2 is not at hand: await trainer.readState/);
        const { parameters, updates } = await trainer.readState();
        expect(updates).toBe(2);
        expect(parameters.get("fc1.weight")?.numbers()).not.toEqual(before);
        checked++;
      }
      if (event.event === "epoch") {
        expect(trainer.state().updates).toBe(trainer.steps);
        checked++;
      }
      if (event.event === "step" && event.step === 10) break;
    }
    expect(checked).toBe(2);
    expect(trainer.state().updates).toBe(10);
    expect(decodeModel(trainer.export().bytes).proto.graph?.name).toBeTruthy();
  });

  it("takes over a state, and goes on as the CPU does", async (context) => {
    context.skip(missing !== "", missing);
    const options = { objective: crossEntropy(), batch: 8 };
    const { trainer: first } = await losses("mlp", options, data("mlp"), 4);
    const goOn = async (backend: string) => {
      const trainer = await Trainer.create(await readModel("models/mlp.onnx"), { ...options, backend });
      trainers.push(trainer);
      trainer.takeOver(first.state());
      const found: number[] = [];
      for await (const event of trainer.fit(data("mlp"), { epochs: 1 })) {
        if (event.event === "step") found.push(event.loss);
      }
      return found;
    };
    expect(difference(await goOn("cpu"), await goOn("webgpu"))).toBeLessThan(1e-4);
  });

  it("takes over weights and slots that the CPU holds in another order", async (context) => {
    context.skip(missing !== "", missing);
    const b = new GraphBuilder(18);
    const padded = { pads: [1, 1, 1, 1] };
    const before = b.op(
      "Conv",
      [b.input("x", [4, 32, 2, 2]), b.weight("first", [64, 32, 3, 3])],
      "c1",
      padded,
    );
    const kernel = b.weight("kernel", [64, 64, 3, 3]);
    const h = b.op("Relu", [b.op("Conv", [b.op("Relu", [before], "h1"), kernel], "c", padded)], "h");
    const pooled = b.op("Flatten", [b.op("GlobalAveragePool", [h], "pool")], "flat");
    const model = Model.fromProto(
      graphToProto(b.output(b.op("MatMul", [pooled, b.weight("w", [64, 3])], "y"))),
    );
    const samples = arrayDataset(
      uniform("order", 16 * 128),
      Int32Array.from(labels("order", 16, 3)),
      [32, 2, 2],
    );
    const begun = async (backend: string, from?: Trainer) => {
      const trainer = await Trainer.create(model, { objective: crossEntropy(), optimizer: adamw(), backend });
      trainers.push(trainer);
      if (from) trainer.takeOver(from.state());
      return trainer;
    };
    const train = async (trainer: Trainer) => {
      const found: number[] = [];
      for await (const event of trainer.fit(samples, { epochs: 1 }))
        if (event.event === "step") found.push(event.loss);
      return found;
    };
    const first = await begun("cpu");
    await train(first);
    expect(first.step.ports.parameters.find(({ name }) => name === "kernel")?.layout).toBeDefined();
    const numbersOf = (trainer: Trainer) =>
      ["m", "v"].map((slot) => [...(trainer.state().slots.get("kernel")?.get(slot)?.numbers() ?? [])]);
    const [cpu, gpu] = [await begun("cpu", first), await begun("webgpu", first)];
    expect(numbersOf(first).flat().length).toBe(2 * 64 * 64 * 9);
    expect(numbersOf(gpu)).toEqual(numbersOf(first));
    expect(difference(await train(cpu), await train(gpu))).toBeLessThan(1e-4);
    // And back: the GPU's weights and slots in the order of the CPU.
    const back = await begun("cpu", gpu);
    expect(numbersOf(back)).toEqual(numbersOf(gpu));
  });

  it("refuses a name that is no backend", async () => {
    const options = { objective: crossEntropy(), backend: "tpu" };
    await expect(Trainer.create(await readModel("models/mlp.onnx"), options)).rejects.toThrow(
      /there is no backend "tpu" here; give one of cpu, cuda, webgpu/,
    );
  });
});

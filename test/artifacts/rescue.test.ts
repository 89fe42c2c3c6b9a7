import { afterAll, describe, expect, it } from "vitest";
import { optimizerModel } from "../../src/artifacts/optimizer-model.ts";
import {
  adamwOrt,
  arrayDataset,
  checkpointOf,
  crossEntropy,
  decodeCheckpoint,
  decodeModel,
  differentiate,
  encodeCheckpoint,
  encodeModel,
  inject,
  type Optimizer,
  type RescuedModel,
  type RescueOptions,
  readOptimizerModel,
  rescuedInference,
  rescueFiles,
  rescueModel,
  sgd,
  som,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import type { Model } from "../../src/onnx/model.ts";
import { OfficialSession } from "../helpers/official-runtime.ts";
import { runModel } from "../helpers/run-model.ts";
import {
  largestDifference,
  officialBatch,
  officialFile,
  officialLosses,
  officialPath,
  pytorch,
} from "./official-fixtures.ts";

const trainers: Trainer[] = [];
afterAll(async () => {
  for (const trainer of trainers) await trainer.release();
});

const checkpoint = (path: string) => decodeCheckpoint(officialFile(path), path);
const training = (name: string): Model => decodeModel(officialFile(`${name}/training_model.onnx`));

async function rescued(
  name: string,
  {
    file = `${name}/checkpoint`,
    optimizer = adamwOrt() as Optimizer,
    rate = 1e-3,
    model = training(name),
  } = {},
): Promise<Trainer> {
  const trainer = await Trainer.rescue(rescueModel(model, checkpoint(file)), {
    ...{ optimizer, learningRate: rate, threads: 1 },
    batch: pytorch.networks[name]?.shape[0] ?? 1,
  });
  trainers.push(trainer);
  return trainer;
}

/** Steps first … 20, one batch each. */
async function train(trainer: Trainer, name: string, first = 0): Promise<number[]> {
  const losses: number[] = [];
  for (let index = first; index < 20; index++) {
    const { x, labels } = officialBatch(name, index);
    const data = arrayDataset(x.data as Float32Array, Int32Array.from(labels.numbers()), x.dims.slice(1));
    for await (const event of trainer.fit(data, { epochs: trainer.steps + 1 })) {
      if (event.event === "step") losses.push(event.loss);
    }
  }
  return losses;
}

describe.each(Object.keys(pytorch.networks))("%s, rescued", (name) => {
  it("goes on with the losses of official Python, AdamW and SGD", async () => {
    const adamw = await train(await rescued(name), name);
    expect(largestDifference(adamw, officialLosses[name]?.adamw ?? [])).toBeLessThan(1e-5);
    const descent = await train(await rescued(name, { optimizer: sgd(), rate: 0.01 }), name);
    expect(largestDifference(descent, officialLosses[name]?.sgd ?? [])).toBeLessThan(1e-5);
  });

  it("goes on from an official checkpoint with its optimizer state", async () => {
    const trainer = await rescued(name, { file: `${name}/checkpoint-10` });
    const losses = await train(trainer, name, 10);
    expect(largestDifference(losses, officialLosses[name]?.adamw.slice(10) ?? [])).toBeLessThan(1e-5);
    expect(trainer.state().updates).toBe(20);
  });

  it("gives a checkpoint from which ONNX Runtime's own session goes on", async () => {
    const before = checkpoint(`${name}/checkpoint`);
    const trainer = await rescued(name);
    for (let index = 0; index < 10; index++) {
      const { x, labels } = officialBatch(name, index);
      const data = arrayDataset(x.data as Float32Array, Int32Array.from(labels.numbers()), x.dims.slice(1));
      for await (const _ of trainer.fit(data, { epochs: trainer.steps + 1 }));
    }
    const session = await OfficialSession.create({
      checkpointState: encodeCheckpoint(checkpointOf(trainer.state(), before)),
      trainModel: officialFile(`${name}/training_model.onnx`),
      optimizerModel: officialFile(`${name}/optimizer_model.onnx`),
      ...(name === "mlp" && { evalModel: officialFile("mlp/eval_model.onnx") }),
    });
    const losses: number[] = [];
    for (let index = 10; index < 20; index++) {
      const outputs = await session.step(officialBatch(name, index));
      losses.push(outputs[session.outputNames[0] ?? ""]?.numbers()[0] ?? Number.NaN);
    }
    await session.release();
    expect(largestDifference(losses, officialLosses[name]?.adamw.slice(10) ?? [])).toBeLessThan(1e-5);
  });

  it("keeps an injected penalty", async () => {
    const model = await inject(training(name), {
      penalties: [{ penalty: som({ lambda1: 100 }), weight: pytorch.weight }],
    });
    const losses = await train(await rescued(name, { model }), name);
    expect(largestDifference(losses, pytorch.networks[name]?.som.adamw ?? [])).toBeLessThan(1e-5);
  });

  it("becomes an inference model", async () => {
    const trainer = await rescued(name, { file: `${name}/checkpoint-10` });
    const model = rescuedInference(trainer.export());
    expect(model.proto.graph?.input?.map((input) => input.name)).toEqual(["x"]);
    expect(model.proto.graph?.output?.map((output) => output.name)).toEqual(["logits"]);
    const { x, labels } = officialBatch(name, 3);
    const { logits } = await runModel(encodeModel(model), { x });
    const data = arrayDataset(x.data as Float32Array, Int32Array.from(labels.numbers()), x.dims.slice(1));
    const { loss } = await trainer.evaluate(data);
    const [rows, classes] = [x.dims[0] ?? 0, 5];
    const scores = logits?.numbers() ?? [];
    const losses = labels.numbers().map((label, row) => {
      const own = scores.slice(row * classes, (row + 1) * classes);
      return Math.log(own.reduce((sum, score) => sum + Math.exp(score), 0)) - (own[label] ?? Number.NaN);
    });
    expect(losses).toHaveLength(rows);
    expect(losses.reduce((a, b) => a + b) / rows).toBeCloseTo(loss, 5);
  });
});

describe("the forward part of each case", () => {
  for (const [name, figures] of Object.entries(pytorch.cases)) {
    it(`${name}: its gradients are PyTorch's`, async () => {
      const { model, options } = rescueModel(training(name), checkpoint(`${name}/checkpoint`));
      expect(
        model.proto.graph?.node?.filter(({ opType }) => /Grad|Training|Internal/.test(opType ?? "")),
      ).toEqual([]);
      const { loss, trainable, tie } = options;
      const gradient = await differentiate(model, { loss, trainable, tie });
      const outputs = await runModel(encodeModel(gradient.model), officialBatch(name, 0));
      expect(outputs[gradient.loss]?.numbers()[0]).toBeCloseTo(figures.plain.loss, 5);
      expect([...gradient.gradients.keys()].sort()).toEqual(Object.keys(figures.plain.gradients).sort());
      for (const [parameter, output] of gradient.gradients) {
        const expected = figures.plain.gradients[parameter] ?? [];
        const scale = Math.max(1, ...expected.map(Math.abs));
        expect(largestDifference(outputs[output]?.numbers() ?? [], expected) / scale, parameter).toBeLessThan(
          1e-5,
        );
      }
    });
  }
});

describe("optimizer models", () => {
  it("with weight decay and other constants do what adamw-ort does", async () => {
    const constants = { beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.1 };
    const session = await OfficialSession.create({
      checkpointState: officialFile("mlp/checkpoint"),
      trainModel: officialFile("mlp/training_model.onnx"),
      evalModel: officialFile("mlp/eval_model.onnx"),
      optimizerModel: encodeModel(optimizerModel("adamw", constants)),
    });
    for (let index = 0; index < 20; index++) await session.step(officialBatch("mlp", index));
    const theirs = await session.parameters({ trainableOnly: true });
    await session.release();
    const trainer = await rescued("mlp", { optimizer: adamwOrt(constants) });
    await train(trainer, "mlp");
    const { parameters } = trainer.state();
    const ours = checkpoint("mlp/checkpoint").parameters.flatMap(
      ({ name }) => parameters.get(name)?.numbers() ?? [],
    );
    const ascending = (values: readonly number[]) => [...values].sort((a, b) => a - b);
    expect(largestDifference(ascending([...theirs]), ascending(ours))).toBeLessThan(1e-6);
  });

  it("of both makers say which optimizer goes on", () => {
    const moments = { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, weightDecay: 0 };
    const read = (path: string) => readOptimizerModel(decodeModel(officialFile(path)));
    expect(read("mlp/optimizer_model.onnx")).toEqual({ name: "adamw-ort", options: moments });
    expect(read("mlp/optimizer_model_sgd.onnx")).toEqual({ name: "sgd", options: {} });
    expect(() => read("mlp/forward.onnx")).toThrow(/not an optimizer model of ONNX Runtime's training tools/);
    const own = optimizerModel("adamw", { weightDecay: 0.05, beta1: 0.8 });
    expect(readOptimizerModel(own)).toEqual({
      name: "adamw-ort",
      options: { ...moments, weightDecay: 0.05, beta1: 0.8 },
    });
    expect(readOptimizerModel(optimizerModel("sgd")).name).toBe("sgd");
  });
});

describe("Trainer.rescue", () => {
  const path = (file: string) => officialPath(`mlp/${file}`);
  const begin = async (
    options: RescueOptions & Partial<TrainerOptions>,
    run: Promise<RescuedModel> = rescueFiles(path("training_model.onnx"), {
      checkpoint: path("checkpoint-10"),
    }),
  ) => {
    const messages: string[] = [];
    const onMessage = (message: string) => messages.push(message);
    const trainer = await Trainer.rescue(await run, { batch: 16, threads: 1, onMessage, ...options });
    trainers.push(trainer);
    return { trainer, messages };
  };

  it("goes on from files with the optimizer, learning rate and state that they hold", async () => {
    const { trainer, messages } = await begin({});
    const { optimizer, learningRate } = trainer.options;
    expect([optimizer?.name, optimizer?.options, learningRate]).toEqual([
      "adamw-ort",
      expect.objectContaining({ epsilon: 1e-6, weightDecay: 0 }),
      checkpoint("mlp/checkpoint-10").optimizer?.learningRate,
    ]);
    const losses = await train(trainer, "mlp", 10);
    expect(largestDifference(losses, officialLosses.mlp?.adamw.slice(10) ?? [])).toBeLessThan(1e-5);
    expect([trainer.state().updates, messages]).toEqual([20, []]);
  });

  it("takes the checkpoint beside the training model unless another one is named", async () => {
    const { trainer } = await begin({ learningRate: 0.01 }, rescueFiles(path("training_model.onnx")));
    expect([trainer.state().updates, trainer.options.learningRate]).toEqual([0, 0.01]);
  });

  it("leaves out the state of another optimizer, and says so", async () => {
    const { trainer, messages } = await begin({ optimizer: sgd() });
    expect(messages).toEqual([expect.stringMatching(/the checkpoint holds that of another optimizer/)]);
    expect(trainer.state().updates).toBe(0);
  });

  it("reads the optimizer model only when no other optimizer is chosen", async () => {
    const none = decodeModel(officialFile("mlp/forward.onnx"));
    const run = async () => rescueModel(training("mlp"), checkpoint("mlp/checkpoint"), none);
    await expect(begin({}, run())).rejects.toThrow(/not an optimizer model/);
    const { trainer } = await begin({ optimizer: sgd() }, run());
    expect(trainer.options.optimizer?.name).toBe("sgd");
  });

  it("drops the state of parameters that it freezes", async () => {
    const { trainer, messages } = await begin({ freeze: /^a\./ });
    const { updates, slots } = trainer.state();
    expect([updates, messages]).toEqual([10, ["frozen: a.weight, a.bias"]]);
    expect([...slots.keys()].filter((name) => name.startsWith("a."))).toEqual([]);
  });

  it.each([
    ["another loss", { loss: "logits" }, /holds its loss \("[^"]+"\); leave --loss and --objective out/],
    ["an objective", { objective: crossEntropy() }, /leave --loss and --objective out/],
    ["a choice of parameters", { trainable: /a/ }, /leave --trainable, --tie and --untie out/],
    ["a choice of shared parameters", { untie: /a/ }, /leave --trainable, --tie and --untie out/],
  ] as const)("refuses %s", async (_, options, message) => {
    await expect(begin(options)).rejects.toThrow(message);
  });
});

describe("rescue", () => {
  it("changes running statistics and keeps the user's entries", async () => {
    const before = checkpoint("cnn/checkpoint-10");
    const trainer = await rescued("cnn", { file: "cnn/checkpoint-10" });
    await train(trainer, "cnn", 18);
    const after = checkpointOf(trainer.state(), before);
    expect(after.properties).toEqual(
      new Map<string, unknown>([
        ["epoch", 3n],
        ["best", 0.5],
        ["note", "half way"],
      ]),
    );
    expect(after.optimizer?.step).toBe(12);
    expect(after.frozen.map(({ name }) => name)).toEqual(before.frozen.map(({ name }) => name));
    for (const [i, tensor] of after.frozen.entries()) {
      expect(tensor.numbers()).not.toEqual(before.frozen[i]?.numbers());
    }
  });

  const refusals: Readonly<Record<string, [() => unknown, RegExp]>> = {
    "a checkpoint of another model": [
      () => rescueModel(training("cnn"), checkpoint("mlp/checkpoint")),
      /of another model: it has no "c1.weight"/,
    ],
    "a checkpoint that trains more": [
      () => rescueModel(training("gelu"), checkpoint("auxiliary/checkpoint")),
      /another model, which also trains "d.weight", "d.bias"/,
    ],
    "a checkpoint with other shapes": [
      () => rescueModel(training("gelu"), checkpoint("shared/checkpoint")),
      /"a.weight" is \[8, 8\] in it, and \[7, 8\] in the model/,
    ],
    "an optimizer model": [
      () => rescueModel(decodeModel(officialFile("mlp/optimizer_model.onnx")), checkpoint("mlp/checkpoint")),
      /its optimizer model; a run goes on from training_model.onnx/,
    ],
    "a forward model": [
      () => rescueModel(decodeModel(officialFile("mlp/forward.onnx")), checkpoint("mlp/checkpoint")),
      /no artifact of ONNX Runtime's training tools/,
    ],
    "a prediction that does not exist": [
      () => rescuedInference(rescueModel(training("mlp"), checkpoint("mlp/checkpoint")).model, "nothing"),
      /no node computes a value "nothing"/,
    ],
  };
  for (const [what, [call, message]] of Object.entries(refusals)) {
    it(`refuses ${what}`, () => expect(call).toThrow(message));
  }
});

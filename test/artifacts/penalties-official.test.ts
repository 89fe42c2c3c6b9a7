import { describe, expect, it } from "vitest";
import {
  adamwOrt,
  arrayDataset,
  buildArtifacts,
  crossEntropy,
  decodeCheckpoint,
  decodeModel,
  encodeCheckpoint,
  encodeModel,
  inject,
  type Model,
  type PenaltyPlan,
  rescueModel,
  so,
  som,
  strip,
  Trainer,
  verify,
} from "../../src/index.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import { OfficialSession } from "../helpers/official-runtime.ts";
import { trainedPenalties } from "../penalties/small-network.ts";
import { largestDifference, officialBatch, officialFile, pytorch } from "./official-fixtures.ts";
import { showingGradients } from "./showing-gradients.ts";

const training = (name: string): Model => decodeModel(officialFile(`${name}/training_model.onnx`));
const checkpoint = (name: string) => decodeCheckpoint(officialFile(`${name}/checkpoint`), name);
const batchOf = (name: string) => (pytorch.networks[name] ?? pytorch.cases[name])?.shape[0] ?? 1;
const steps = 20;

/** Those whose random numbers a training session would have to draw are refused. */
const drawing = ["som:rows=random,directions=16", "srip"];
const fixed = trainedPenalties.filter((text) => !drawing.includes(text));

function planOf(text: string): PenaltyPlan {
  return { ...parsePlan(text), weight: pytorch.weight };
}

async function official(
  name: string,
  {
    model,
    checkpointState = officialFile(`${name}/checkpoint`),
  }: { model: Model; checkpointState?: Uint8Array },
) {
  const session = await OfficialSession.create({
    ...{ checkpointState, trainModel: encodeModel(model) },
    optimizerModel: officialFile(`${name}/optimizer_model.onnx`),
    ...(name === "mlp" && { evalModel: officialFile("mlp/eval_model.onnx") }),
  });
  const figures: [loss: number, penalty: number][] = [];
  for (let index = 0; index < steps; index++) {
    const outputs = await session.step(officialBatch(name, index));
    const [loss = Number.NaN] = outputs[session.outputNames[0] ?? ""]?.numbers() ?? [];
    figures.push([loss, outputs.sorth_penalty?.numbers()[0] ?? Number.NaN]);
  }
  await session.release();
  return figures;
}

async function own(name: string, penalties: readonly PenaltyPlan[]) {
  const trainer = await Trainer.rescue(rescueModel(training(name), checkpoint(name)), {
    ...{ penalties, optimizer: adamwOrt(), batch: batchOf(name), threads: 1 },
  });
  const figures: [loss: number, penalty: number][] = [];
  for (let index = 0; index < steps; index++) {
    const { x, labels } = officialBatch(name, index);
    const data = arrayDataset(x.data as Float32Array, Int32Array.from(labels.numbers()), x.dims.slice(1));
    for await (const { event, loss, penalty } of trainer.fit(data, { epochs: trainer.steps + 1 })) {
      if (event === "step") figures.push([loss, penalty]);
    }
  }
  await trainer.release();
  return figures;
}

const relative = (a: readonly number[][], b: readonly number[][]) =>
  Math.max(
    ...a.flatMap((numbers, i) =>
      numbers.map((value, j) => Math.abs(value - (b[i]?.[j] ?? Number.NaN)) / Math.max(1, Math.abs(value))),
    ),
  );

describe.each(fixed)("%s in a training_model.onnx", (text) => {
  for (const name of text === "ocnn" ? ["cnn"] : ["mlp", "cnn"]) {
    it(`${name}: trains in ONNX Runtime's own session as in the Trainer`, async () => {
      const penalties = [planOf(text)];
      const model = await inject(training(name), { penalties });
      const theirs = await official(name, { model });
      expect(theirs).toHaveLength(steps);
      expect(relative(await own(name, penalties), theirs)).toBeLessThan(1e-5);
      const plain = await official(name, { model: training(name) });
      const [first = 0, before = 0] = [theirs[0]?.[0], plain[0]?.[0]];
      expect(first - before).toBeCloseTo(pytorch.weight * (theirs[0]?.[1] ?? 0), 4);
    });
  }

  it("is stripped to the same bytes, and verified", async () => {
    for (const name of ["cnn", "residual", "shared"]) {
      const before = training(name);
      const model = await inject(before, { penalties: [planOf(text)] }).catch((error) => String(error));
      if (typeof model === "string") {
        expect([text, model]).toEqual(["ocnn", expect.stringMatching(/no layer/)]);
        continue;
      }
      expect(Buffer.compare(encodeModel(strip(model)), before.bytes)).toBe(0);
      const { checks } = await verify(before, model);
      expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
    }
  });
});

describe("penalties in training artifacts", () => {
  it("several at once train as in the Trainer", async () => {
    const penalties = ["som:include=b|c", "so:weight=0.02", "decov:weight=0.1"].map((text) => ({
      weight: pytorch.weight,
      ...parsePlan(text),
    }));
    const theirs = await official("mlp", { model: await inject(training("mlp"), { penalties }) });
    expect(relative(await own("mlp", penalties), theirs)).toBeLessThan(1e-5);
  });

  it("are in artifacts that are built with them as in those they are injected into", async () => {
    const penalties = [planOf("so"), planOf("vicreg")];
    const forward = decodeModel(officialFile("cnn/forward.onnx"));
    const options = { objective: crossEntropy(), batch: batchOf("cnn") };
    const once = await buildArtifacts(forward, { ...options, penalties });
    const later = await buildArtifacts(forward, options);
    const checkpointState = encodeCheckpoint(once.checkpoint);
    const built = await official("cnn", { model: once.training, checkpointState });
    const model = await inject(later.training, { penalties });
    expect(relative(built, await official("cnn", { model, checkpointState }))).toBeLessThan(1e-6);
    expect(relative(built, await own("cnn", penalties))).toBeLessThan(1e-5);
  });

  it("add to the gradient of a weight once, however many nodes read it", async () => {
    const name = "shared";
    const gradients = async (model: Model) => {
      const names = Object.keys(pytorch.cases[name]?.plain.gradients ?? {});
      const checkpointState = officialFile(`${name}/checkpoint`);
      const session = await OfficialSession.create({
        checkpointState,
        trainModel: showingGradients(model, names),
      });
      const outputs = await session.accumulate(officialBatch(name, 0));
      await session.release();
      return new Map(names.map((parameter) => [parameter, outputs[`shown/${parameter}`]?.numbers() ?? []]));
    };
    const [plain, added] = [
      await gradients(training(name)),
      await gradients(await inject(training(name), { penalties: [{ penalty: so(), weight: 1 }] })),
    ];
    const weights = new Map(checkpoint(name).parameters.map((tensor) => [tensor.name, tensor]));
    let compared = 0;
    for (const [parameter, gradient] of added) {
      const before = plain.get(parameter) ?? [];
      const weight = weights.get(parameter);
      if (weight?.dims.length !== 2) continue;
      // 4·(WWᵀ − I)W over the number of layers, of which the penalty is the mean; PyTorch's weights hold units in rows.
      const [rows = 0, columns = 0] = weight.dims;
      const w = weight.numbers();
      const at = (i: number, j: number) => w[i * columns + j] ?? 0;
      const gram = (i: number, k: number) =>
        Array.from({ length: columns }, (_, j) => at(i, j) * at(k, j)).reduce((a, b) => a + b, 0) -
        Number(i === k);
      const slope = Array.from({ length: rows * columns }, (_, place) => {
        const [i, j] = [Math.floor(place / columns), place % columns];
        return 4 * Array.from({ length: rows }, (_, k) => gram(i, k) * at(k, j)).reduce((a, b) => a + b, 0);
      });
      const found = gradient.map((value, i) => value - (before[i] ?? 0));
      const factor =
        found.reduce((a, b, i) => a + b * (slope[i] ?? 0), 0) / slope.reduce((a, b) => a + b * b, 0);
      expect(
        largestDifference(
          found,
          slope.map((value) => factor * value),
        ),
      ).toBeLessThan(1e-4);
      compared++;
    }
    expect(compared).toBeGreaterThan(0);
  });

  it.each(drawing)("%s is refused: a training session draws nothing", async (text) => {
    const penalties = [planOf(text)];
    const refusal = /needs new random numbers each/;
    await expect(inject(training("mlp"), { penalties })).rejects.toThrow(refusal);
    const forward = decodeModel(officialFile("mlp/forward.onnx"));
    await expect(
      buildArtifacts(forward, { objective: crossEntropy(), batch: batchOf("mlp"), penalties }),
    ).rejects.toThrow(refusal);
    // Numbers that stay the same are fine.
    if (text.startsWith("som")) {
      const same = [{ penalty: som({ maxRows: 2 }), weight: 1 }];
      await expect(inject(training("mlp"), { penalties: same })).resolves.toBeDefined();
    }
  });
});

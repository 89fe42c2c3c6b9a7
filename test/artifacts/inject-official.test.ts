import { describe, expect, it } from "vitest";
import {
  crossEntropy,
  decodeModel,
  differentiate,
  encodeModel,
  inject,
  som,
  strip,
  verify,
} from "../../src/index.ts";
import type { InjectOptions } from "../../src/inject/options.ts";
import { decodeModelProto, encodeModelProto } from "../../src/onnx/codec.ts";
import { Model } from "../../src/onnx/model.ts";
import { OfficialSession } from "../helpers/official-runtime.ts";
import { largestDifference, officialBatch, officialFile, pytorch } from "./official-fixtures.ts";
import { showingGradients } from "./showing-gradients.ts";

const penalties = [{ penalty: som({ lambda1: 100 }), weight: pytorch.weight }];

const injected = (name: string, options: Partial<InjectOptions> = {}): Promise<Model> =>
  inject(decodeModel(officialFile(`${name}/training_model.onnx`)), { penalties, ...options });

/** The losses and penalties of 20 steps by ONNX Runtime's own session. */
async function train(
  name: string,
  trainModel: Uint8Array,
): Promise<{ losses: number[]; penalties: number[] }> {
  const session = await OfficialSession.create({
    checkpointState: officialFile(`${name}/checkpoint`),
    trainModel,
    optimizerModel: officialFile(`${name}/optimizer_model.onnx`),
    ...(name === "mlp" && { evalModel: officialFile("mlp/eval_model.onnx") }),
  });
  const result = { losses: [] as number[], penalties: [] as number[] };
  for (let index = 0; index < 20; index++) {
    const outputs = await session.step(officialBatch(name, index));
    result.losses.push(outputs[session.outputNames[0] ?? ""]?.numbers()[0] ?? Number.NaN);
    const penalty = outputs.sorth_penalty?.numbers()[0];
    if (penalty !== undefined) result.penalties.push(penalty);
  }
  await session.release();
  return result;
}

describe("an injected training model in ONNX Runtime's own session", () => {
  for (const [name, figures] of Object.entries(pytorch.networks)) {
    it(`${name}: 20 steps with SOM give PyTorch's losses, and the session reports the penalty`, async () => {
      const { losses, penalties: reported } = await train(name, encodeModel(await injected(name)));
      expect(largestDifference(losses, figures.som.adamw)).toBeLessThan(1e-5);
      expect(reported).toHaveLength(20);
      const share = pytorch.weight * (reported[0] ?? 0);
      expect(share).toBeGreaterThan(0.1);
      expect(Math.abs((losses[0] ?? 0) - share - (figures.plain.adamw[0] ?? 0))).toBeLessThan(1e-5);
    });

    it(`${name}: without injection, and after strip, the plain losses`, async () => {
      const before = officialFile(`${name}/training_model.onnx`);
      const stripped = encodeModel(strip(await injected(name)));
      expect(Buffer.compare(stripped, before)).toBe(0);
      const { losses, penalties: reported } = await train(name, stripped);
      expect(largestDifference(losses, figures.plain.adamw)).toBeLessThan(1e-5);
      expect(reported).toEqual([]);
    });
  }

  for (const [name, figures] of Object.entries(pytorch.cases)) {
    it(`${name}: every gradient is PyTorch's, plain and with SOM`, async () => {
      for (const form of ["plain", "som"] as const) {
        const expected = figures[form];
        const model =
          form === "som" ? await injected(name) : decodeModel(officialFile(`${name}/training_model.onnx`));
        const names = Object.keys(expected.gradients);
        const session = await OfficialSession.create({
          checkpointState: officialFile(`${name}/checkpoint`),
          trainModel: showingGradients(model, names),
        });
        const outputs = await session.accumulate(officialBatch(name, 0));
        await session.release();
        const loss = outputs[session.outputNames[0] ?? ""]?.numbers() ?? [];
        expect(largestDifference(loss, [expected.loss])).toBeLessThan(1e-5);
        if (form === "som") {
          expect(largestDifference(outputs.sorth_penalty?.numbers() ?? [], [expected.penalty])).toBeLessThan(
            1e-4,
          );
        }
        for (const [parameter, gradient] of Object.entries(expected.gradients)) {
          const scale = Math.max(1, ...gradient.map(Math.abs));
          const found = outputs[`shown/${parameter}`]?.numbers() ?? [];
          expect(largestDifference(found, gradient) / scale, `${form} ${parameter}`).toBeLessThan(1e-5);
        }
      }
    });
  }
});

describe("injecting into a training model", () => {
  it("says which layers have no gradient: their penalty joins the loss only", async () => {
    const messages: string[] = [];
    await injected("frozen-first", { onMessage: (message) => messages.push(message) });
    expect(messages.filter((message) => message.includes("loss only"))).toEqual([
      "/a/Gemm: its penalty joins the loss only: nothing before it is trained",
    ]);
  });

  it("keeps the nodes in topological order", async () => {
    for (const name of ["residual", "shared", "auxiliary"]) {
      const { graph } = decodeModelProto(encodeModel(await injected(name)));
      const known = new Set([
        "",
        ...(graph?.input ?? []).map((input) => input.name ?? ""),
        ...(graph?.initializer ?? []).map((tensor) => tensor.name ?? ""),
      ]);
      for (const node of graph?.node ?? []) {
        expect(
          (node.input ?? []).filter((input) => !known.has(input)),
          node.name ?? "",
        ).toEqual([]);
        for (const output of node.output ?? []) known.add(output);
      }
    }
  });

  it("does not depend on the names of nodes", async () => {
    const proto = decodeModelProto(officialFile("residual/training_model.onnx"));
    for (const node of proto.graph?.node ?? []) node.name = "";
    const unnamed = Model.fromBytes(encodeModelProto(proto));
    const model = await inject(unnamed, { penalties });
    expect(Buffer.compare(encodeModel(strip(model)), unnamed.bytes)).toBe(0);
    const { losses } = await train("residual", encodeModel(model));
    expect(largestDifference(losses, pytorch.networks.residual?.som.adamw ?? [])).toBeLessThan(1e-5);
  });

  it("reports single layers, and takes layers and options", async () => {
    const model = await injected("mlp", { perSite: true });
    const outputs = (model.proto.graph?.output ?? []).map(({ name }) => name);
    expect(outputs.slice(-4)).toEqual([
      "sorth_penalty",
      "sorth_penalty//a/Gemm",
      "sorth_penalty//b/Gemm",
      "sorth_penalty//c/Gemm",
    ]);
  });

  it("is verified on the forward part: penalties, loss and added gradients", async () => {
    for (const name of ["mlp", "cnn", "residual", "frozen-first", "matmul-add"]) {
      const original = decodeModel(officialFile(`${name}/training_model.onnx`));
      const model = await injected(name);
      const report = await verify(original, model);
      expect(report.checks.filter(({ status }) => status === "failed")).toEqual([]);
      const gradients = report.checks.filter(
        ({ name: what, status }) => /^gradient/.test(what) && status === "passed",
      );
      expect(gradients.length).toBeGreaterThan(1);
    }
  });

  it("compares no gradient beyond the budget, and says so", async () => {
    const original = decodeModel(officialFile("mlp/training_model.onnx"));
    const { checks } = await verify(original, await injected("mlp"), { budget: 1e-9 });
    const gradients = checks.filter(({ name }) => name.startsWith("gradient of"));
    expect(gradients).toHaveLength(3);
    for (const { status, detail } of gradients) {
      expect(status).toBe("noted");
      expect(detail).toContain("not checked for its size");
    }
  });

  it("fails verification when an added gradient was tampered with", async () => {
    const original = decodeModel(officialFile("mlp/training_model.onnx"));
    const proto = decodeModelProto(encodeModel(await injected("mlp")));
    const sum = proto.graph?.node?.find(({ output }) => output?.[0] === "/b/Gemm_output_0_grad");
    const other = proto.graph?.node?.find(({ output }) => output?.[0] === "/a/Gemm_output_0_grad");
    expect([sum?.opType, other?.opType]).toEqual(["Add", "Add"]);
    // The response itself in the place of the penalty's gradient.
    if (sum?.input) sum.input[1] = "/b/Gemm_output_0";
    const report = await verify(original, Model.fromBytes(encodeModelProto(proto)));
    expect(report.passed).toBe(false);
    const failed = report.checks.filter(({ status }) => status === "failed").map(({ name }) => name);
    expect(failed).toContain("gradient of /b/Gemm");
    expect(failed).not.toContain("gradient of /a/Gemm");
  });

  const refusals: Readonly<Record<string, [() => Promise<unknown>, RegExp]>> = {
    "BatchNorm statistics that are another value's numbers": [
      () => injected("aliased"),
      /running statistics of BatchNorm node ".*" are not its own \("b1.running_var" is Identity of "b1.weight"\)/,
    ],
    "a second injection": [
      async () => inject(await injected("mlp"), { penalties }),
      /has a penalty injected already/,
    ],
    "a loss to choose": [() => injected("mlp", { loss: "logits" }), /holds its loss .* leave --loss/],
    "an objective": [() => injected("mlp", { objective: "mse" }), /holds its loss .* leave --loss/],
    "an optimizer model": [
      () => inject(decodeModel(officialFile("mlp/optimizer_model.onnx")), { penalties }),
      /is an optimizer model; the penalty belongs into training_model.onnx/,
    ],
    "differentiating it": [
      () =>
        differentiate(decodeModel(officialFile("mlp/training_model.onnx")), {
          objective: crossEntropy(),
          batch: 4,
        }),
      /is a training model of ONNX Runtime's training tools, which stock ONNX Runtime does not run; inspect, inject/,
    ],
    "IR 11": [() => inject(changed({ irVersion: 11 }), { penalties }), /IR version 11; .* loads up to 10/],
    "opset 22": [() => inject(changed({ opset: 22 }), { penalties }), /opset 22; .* trains opsets 13 to 21/],
    "a gradient whose name and place differ": [
      () => inject(withOtherGradient(), { penalties }),
      /no value "\/b\/Gemm_output_0_grad" holds the gradient of layer "\/b\/Gemm", although "b.weight" before it is trained/,
    ],
  };
  for (const [what, [call, message]] of Object.entries(refusals)) {
    it(`refuses ${what}`, () => expect(call()).rejects.toThrow(message));
  }
});

/** The MLP's training model with other versions. */
function changed({ irVersion, opset }: { irVersion?: number; opset?: number }): Model {
  const proto = decodeModelProto(officialFile("mlp/training_model.onnx"));
  if (irVersion !== undefined) proto.irVersion = irVersion as never;
  for (const one of proto.opsetImport ?? []) {
    if (opset !== undefined && !one.domain) one.version = opset as never;
  }
  return Model.fromBytes(encodeModelProto(proto));
}

/** The MLP's training model in which the second layer's gradient bears another name. */
function withOtherGradient(): Model {
  const proto = decodeModelProto(officialFile("mlp/training_model.onnx"));
  const rename = (names: string[] | null | undefined) =>
    names?.forEach((name, i) => {
      if (name === "/b/Gemm_output_0_grad") names[i] = "elsewhere_grad";
    });
  for (const node of proto.graph?.node ?? []) {
    rename(node.input);
    rename(node.output);
  }
  return Model.fromBytes(encodeModelProto(proto));
}

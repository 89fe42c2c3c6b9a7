import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  decodeModel,
  encodeModel,
  inject,
  innerValues,
  Model,
  readModel,
  som,
  strip,
  type TapOptions,
  Tensor,
  tap,
  verify,
} from "../../src/index.ts";
import { concatBytes, equalBytes } from "../../src/onnx/wire.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { encodings, reencode } from "../helpers/reencode.ts";
import { runModel } from "../helpers/run-model.ts";
import { network, samples } from "../inject/models.ts";
import { loopModel } from "./loop-model.ts";

const written = (model: Model): Model => Model.fromBytes(concatBytes(model.chunks));
const outputsOf = (model: Model) => model.proto.graph?.output?.map(({ name }) => name);
const dimsOf = (model: Model, name: string) =>
  model.proto.graph?.output
    ?.find((one) => one.name === name)
    ?.type?.tensorType?.shape?.dim?.map(({ dimParam, dimValue }) => dimParam || Number(dimValue));

describe("tap", () => {
  test("adds outputs with the types that ONNX Runtime infers; the model's own keep their bits", async () => {
    const model = await readModel("models/cnn.onnx");
    const tapped = await tap(model, { include: /^relu[12]$|^flatten/, exclude: /2/ });
    expect(outputsOf(tapped)).toEqual(["logits", "relu1", "flatten"]);
    expect(dimsOf(tapped, "relu1")).toEqual(["batch", 16, 14, 14]);
    const x = Tensor.float("x", [2, 1, 28, 28], randomFloats("x", 2 * 784));
    const [before, after] = await Promise.all(
      [model, tapped].map(({ bytes }) => runModel(bytes, { x }, { optimize: false })),
    );
    expect(after?.logits?.data).toEqual(before?.logits?.data);
    expect(after?.flatten?.dims).toEqual([2, 32]);
    // The last layer of the tapped features is the answer.
    const [weight, bias] = ["logits.weight", "logits.bias"].map((name) =>
      Tensor.fromProto(model.proto.graph?.initializer?.find((one) => one.name === name) ?? {}).numbers(),
    );
    const features = after?.flatten?.numbers() ?? [];
    const scores = before?.logits?.numbers() ?? [];
    for (let unit = 0; unit < 10; unit++) {
      let score = Number(bias?.[unit]);
      for (let i = 0; i < 32; i++) score += Number(features[i]) * Number(weight?.[32 * unit + i]);
      expect(score).toBeCloseTo(Number(scores[unit]), 4);
    }
  });

  test("strip gives the file back, whatever encoder wrote it", async () => {
    const original = network({ loss: "vector", lossReader: true }).bytes;
    await fc.assert(
      fc.asyncProperty(encodings, async (encoding) => {
        const bytes = reencode(original, encoding);
        const tapped = written(await tap(Model.fromBytes(bytes), { op: /^(Relu|Gemm)$/ }));
        expect(equalBytes(strip(tapped).bytes, bytes)).toBe(true);
      }),
      { numRuns: 12, seed: 5 },
    );
    const folder = "test/fixtures/exports/";
    for (const name of readdirSync(folder).filter((file) => file.endsWith(".onnx"))) {
      const bytes = new Uint8Array(readFileSync(folder + name));
      const tapped = written(await tap(Model.fromBytes(bytes), { include: /./ }));
      expect(equalBytes(strip(tapped).bytes, bytes), name).toBe(true);
    }
  });

  test("goes with inject in either order, and one strip takes both away", async () => {
    const model = network({ loss: "scalar", lossReader: true });
    const withTap = (one: Model, options: TapOptions = { op: /^Relu$/ }) => tap(written(one), options);
    const withPenalty = (one: Model) => inject(written(one), { penalties: [som()], loss: "loss" });
    const x = samples(5);
    const relu = model.proto.graph?.node?.find(({ opType }) => opType === "Relu")?.output?.[0];
    const plain = await runModel((await withPenalty(model)).bytes, { x });
    for (const made of [
      await withTap(await withPenalty(model)),
      await withPenalty(await withTap(model)),
      await withTap(await withPenalty(await withTap(model)), { op: /^Gemm$/ }),
    ]) {
      const results = await runModel(written(made).bytes, { x });
      expect(Object.keys(results)).toContain(relu);
      expect(results.sorth_penalty?.data).toEqual(plain.sorth_penalty?.data);
      expect(equalBytes(strip(written(made)).bytes, model.bytes)).toBe(true);
      expect((await verify(model, written(made))).passed).toBe(true);
    }
    const tapped = await withTap(model);
    expect((await verify(tapped, await withPenalty(tapped))).passed).toBe(true);
    // Values of the block are its own business.
    const injected = await withPenalty(model);
    await expect(tap(injected, { include: /^sorth\/(?!original)/ })).rejects.toThrow("no inner value");
  });

  test("taps again: the outputs add up", async () => {
    const model = await readModel("models/mlp.onnx");
    const twice = await tap(await tap(model, { include: /^relu1$/ }), { include: /^relu/ });
    expect(outputsOf(twice)).toEqual(["logits", "relu1", "relu2"]);
    expect(equalBytes(strip(twice).bytes, model.bytes)).toBe(true);
  });

  test("finds a value by its node, its module, and the weight of its layer", async () => {
    const b = new GraphBuilder(18);
    const x = b.input("x", ["batch", 6]);
    const product = b.op("MatMul", [x, b.weight("encoder.fc.weight", [6, 4])], "11");
    const sum = b.op("Add", [product, b.weight("encoder.fc.bias", [4])], "12");
    const y = b.op("Relu", [sum], "13");
    b.graph.nameNode(y.producer as NonNullable<typeof y.producer>, "/encoder/act/Relu");
    b.output(b.op("Neg", [y], "y"));
    const model = decodeModel(encodeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 8 }))));
    const names = async (options: TapOptions) => outputsOf(await tap(model, options))?.slice(1);
    expect(await names({ include: /^encoder\.fc$/ })).toEqual(["11", "12"]);
    expect(await names({ include: /^encoder\.act$/ })).toEqual(["13"]);
    expect(await names({ include: /^\/encoder\/act\/Relu$/ })).toEqual(["13"]);
    expect(await names({ include: /./g, op: /^Add$/ })).toEqual(["12"]);
    expect((await innerValues(model)).map(({ name, output }) => [name, output])).toEqual([
      ...["11", "12", "13"].map((name) => [name, false]),
      ["y", true],
    ]);
  });

  test.each<[TapOptions, RegExp]>([
    [{}, /say which inner values become outputs: --include PATTERN/],
    [{ include: /relv/ }, /--include relv matches no inner value; near it: .*relu1/],
    [{ include: /^logits$/ }, /matches nothing but outputs of the model: "logits"/],
    [{ include: /bn1/, exclude: /bn/ }, /no inner value matches \/bn1\/, without \/bn\//],
    [{ include: /^x$/ }, /matches "x", which no node computes: only outputs of nodes can be tapped/],
    [{ include: /relu/, exclude: /nothing/ }, /--exclude nothing matches no inner value/],
    [{ op: /Tanh/ }, /no inner value matches operator \/Tanh\/; the operators are Conv, Batch/],
    [{ include: /./, limit: 3 }, /matches 18 values, above the limit of 3: narrow it/],
    [{ include: /./, limit: 0 }, /the limit must be a whole number of 1 or more, not 0/],
  ])("refuses %s", async (options, reason) => {
    await expect(tap(await readModel("models/cnn.onnx"), options)).rejects.toThrow(reason);
  });

  test("refuses values inside bodies with the reason, and names those it leaves out", async () => {
    const model = loopModel();
    await expect(tap(model, { include: /^inner$/ })).rejects.toThrow(
      '"inner" is computed in the body of Loop "total", whose values exist only while it runs: name a value that it returns',
    );
    const said: string[] = [];
    const tapped = await tap(model, { include: /^(inner|before)$/, onMessage: (text) => said.push(text) });
    expect(outputsOf(tapped)).toEqual(["y", "before"]);
    expect(said.join()).toContain('left out: "inner" is computed in the body of Loop');
  });

  test("strip refuses a mark that is damaged, and keeps what the model has itself", async () => {
    const { proto } = written(await tap(network(), { op: /^Relu$/ }));
    const entry = proto.metadataProps?.find(({ key }) => key === "sorth.taps");
    const mark = JSON.parse(entry?.value ?? "");
    for (const [value, reason] of [
      ["{", /metadata_props\["sorth.taps"\] of the model is damaged/],
      [JSON.stringify({ ...mark, outputs: ["y"] }), /its checksum does not fit/],
      [JSON.stringify({ version: 1, outputs: ["y", ...mark.outputs], file: mark.file }), /every output/],
    ] as const) {
      if (entry) entry.value = value;
      expect(() => strip(Model.fromProto(proto))).toThrow(reason);
    }
  });
});

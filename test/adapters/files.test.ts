import { join } from "node:path";
import Long from "long";
import { describe, expect, test } from "vitest";
import { loraOf } from "../../src/cli/adapter-flags.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  adapterOf,
  addAdapters,
  decodeAdapter,
  decodeModel,
  encodeAdapter,
  encodeModel,
  encodeOnnxAdapter,
  graphOf,
  Model,
  mergeAdapters,
  readModel,
  Tensor,
  writeAdapter,
} from "../../src/index.ts";
import { joinChunks } from "../../src/onnx/stored.ts";
import { encodeTensors } from "../../src/programs/checkpoint.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { builtModel, GraphBuilder } from "../helpers/build-graph.ts";

test("a model of IR version 3 takes no adapter of ONNX Runtime", async () => {
  const b = new GraphBuilder(8);
  b.output(b.op("MatMul", [b.input("x", ["batch", 4]), b.weight("fc1.weight", [4, 2])], "y"));
  const model = decodeModel(encodeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 3 }))));
  const adapted = await addAdapters(model, { include: /fc1/ });
  await expect(encodeOnnxAdapter(adapted)).rejects.toThrow(/its file has IR version 3 or less/);
  await expect(encodeOnnxAdapter(model)).rejects.toThrow(/IR version 3/);
});

describe("a file of PEFT", () => {
  const numbers = new Map([
    ["base_model.model.fc1.lora_A.weight", Tensor.float("a", [1, 4], [1, 2, 3, 4])],
    ["base_model.model.fc1.lora_B.weight", Tensor.float("b", [2, 1], [1, 2])],
  ]);
  const file = joinChunks(encodeTensors(numbers, {}));

  test.each([
    ["{", "adapter_config.json is not JSON"],
    ["null", "adapter_config.json is no object"],
    ["{}", "is an adapter with peft_type undefined"],
    ['{"peft_type":"LORA","r":"8"}', "r in adapter_config.json is no number"],
    ['{"peft_type":"LORA","init_lora_weights":"pissa_niter_4"}', "takes a part out of the base's weights"],
    [
      '{"peft_type":"LORA","alora_invocation_tokens":[3]}',
      "with alora_invocation_tokens, which is not supported",
    ],
    ['{"peft_type":"LORA","use_dora":true}', "has use_dora, and no lora_magnitude_vector"],
  ])("with the configuration %s is refused", async (config, message) => {
    await expect(decodeAdapter(file, config)).rejects.toThrow(message);
  });

  test.each([
    ["fc1.lora_A.weight", 'has lora_A of "fc1" twice'],
    ["base_model.model.fc1.lora_B.default.weight", 'has lora_B of "fc1" twice'],
    ["base_model.model.base_layer.fc1.lora_A.weight", undefined],
    ["fc2.weight", 'has "fc2.weight" twice'],
  ])("in which %s names a part again is refused", async (name, message) => {
    const saved = ["base_model.model.fc2.weight", Tensor.float("c", [1], [1])] as const;
    const again = [name, Tensor.float("d", [1, 4], [5, 6, 7, 8])] as const;
    const bytes = joinChunks(encodeTensors(new Map([...numbers, saved, again]), {}));
    const read = decodeAdapter(bytes, '{"peft_type":"LORA"}');
    await expect(read).rejects.toThrow(message ?? "only one of lora_A and lora_B");
  });

  test("whose tensors share bytes, or leave some out, is refused", async () => {
    const text = Buffer.from(file).toString("latin1");
    for (const [from, to] of [
      ["[16,24]", "[ 8,16]"],
      ["[16,24]", "[20,28]"],
      ["lora_B", "lora_A"],
    ] as const) {
      const changed = new Uint8Array(Buffer.from(text.replace(from, to), "latin1"));
      await expect(decodeAdapter(changed, '{"peft_type":"LORA"}')).rejects.toThrow(/damaged one/);
    }
  });

  test("with a pattern that would take forever is read without it", async () => {
    const patterns = { "(.*a)*(.*b)*x": 3, fc1: 5 };
    const config = JSON.stringify({ peft_type: "LORA", alpha_pattern: patterns });
    expect((await decodeAdapter(file, config)).layers).toMatchObject([{ module: "fc1", alpha: 5 }]);
  });

  test("with a last layer in PyTorch's layout replaces that of a MatMul; a table that PEFT keeps beside is left out", async () => {
    const b = new GraphBuilder(17);
    const h = b.op("MatMul", [b.input("x", ["batch", 4]), b.weight("fc1.weight", [4, 2])], "h");
    b.output(b.op("MatMul", [h, b.weight("fc2.weight", [2, 3])], "y"));
    const more = new Map([
      ...numbers,
      ["base_model.model.fc2.weight", Tensor.float("w", [3, 2], [1, 2, 3, 4, 5, 6])],
      ["base_model.model.emb.base_layer.weight", Tensor.float("e", [1, 2], [7, 8])],
    ]);
    const adapter = await decodeAdapter(joinChunks(encodeTensors(more, {})), '{"peft_type":"LORA"}');
    expect([...adapter.saved.keys()]).toEqual(["fc2.weight"]);
    const merged = graphOf(await mergeAdapters(builtModel(b), adapter));
    expect(merged.valueNamed("fc2.weight").initializer?.numbers()).toEqual([1, 3, 5, 2, 4, 6]);
  });

  test("names modules inside of other modules with adapters as PEFT nests them", async () => {
    const b = new GraphBuilder(17);
    const h = b.op("MatMul", [b.input("x", ["batch", 4]), b.weight("attn.weight", [4, 4])], "h");
    b.output(b.op("MatMul", [h, b.weight("attn.out_proj.weight", [4, 3])], "y"));
    const adapter = await adapterOf(await addAdapters(builtModel(b), { include: /./, rank: 1 }));
    const { tensors, config } = await encodeAdapter(adapter);
    const text = Buffer.from(tensors).toString("latin1");
    expect(text).toContain('"base_model.model.attn.lora_A.weight"');
    expect(text).toContain('"base_model.model.attn.base_layer.out_proj.lora_A.weight"');
    const { layers } = await decodeAdapter(tensors, config);
    expect(layers.map(({ module }) => module).sort()).toEqual(["attn", "attn.out_proj"]);
  });
});

test("a run that begins with an adapter of another kind is refused by the kinds", async () => {
  const adapter = await adapterOf(await addAdapters(await readModel("models/mlp.onnx"), { include: /fc1/ }));
  const folder = temporaryFolder();
  const adapterFrom = join(folder.path, "a");
  await writeAdapter(adapter, adapterFrom);
  await expect(loraOf({ adapterFrom, lora: { ia3: true } }, false)).rejects.toThrow(
    /the adapter is of the kind lora, the run trains ia3/,
  );
  expect((await loraOf({ adapterFrom, lora: { alpha: 3 } }, false)).lora).toMatchObject({
    rank: 8,
    alpha: 3,
  });
  folder.remove();
});

test("layers inside of functions are named with the reason", async () => {
  const b = new GraphBuilder(17, { own: 1 });
  const x = b.input("x", ["batch", 4]);
  const h = b.op("Linear", [x, b.weight("fc.weight", [4, 4])], "h", {}, "own");
  b.output(b.op("MatMul", [h, b.weight("out.weight", [4, 2])], "y"));
  b.graph.functions.push({
    ...{ name: "Linear", domain: "own", input: ["a", "w"], output: ["b"] },
    node: [{ opType: "MatMul", name: "inner", input: ["a", "w"], output: ["b"] }],
    opsetImport: [{ domain: "", version: Long.fromNumber(17) }],
  });
  const model = Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
  await expect(addAdapters(model, { include: /inner/ })).rejects.toThrow(
    /no layer can have an adapter: "inner": it lies in a function, .* export the model without functions/,
  );
  const said: string[] = [];
  await addAdapters(model, { include: /^y$/, onMessage: (text) => said.push(text) });
  await expect(addAdapters(model, { onMessage: (text) => said.push(text) })).rejects.toThrow(
    /"y", which gives/,
  );
  expect(said.join("\n")).toMatch(/no adapter beside "inner": it lies in a function/);
});

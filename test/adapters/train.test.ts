import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  addAdapters,
  crossEntropy,
  encodeModel,
  exportCheckpoint,
  graphOf,
  inspect,
  Model,
  mergeAdapters,
  readAdapter,
  readModel,
  som,
  Tensor,
  Trainer,
  type TrainerOptions,
  writeModel,
} from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { npz } from "../cli/npz.ts";
import { cli, temporaryFolder } from "../cli/run-cli.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { losses, network, train } from "../runtime/small-run.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);

beforeAll(() => {
  copyFileSync("models/mlp.onnx", at("m.onnx"));
  writeFileSync(
    at("d.npz"),
    npz(16, [1, 28, 28], (index) => index % 3),
  );
});
afterAll(() => folder.remove());

/** Every option of adapters away from its default. */
const options: TrainerOptions = {
  ...{ objective: crossEntropy(), batch: 8, threads: 1, seed: 3, learningRate: 0.02 },
  lora: {
    rank: 2,
    alpha: 5,
    scaling: "rslora",
    dropout: 0.3,
    dora: true,
    include: /FC[123]/i,
    exclude: /fc3/,
    trainHead: true,
  },
  alsoTrain: /bn\.bias/,
  penalties: [{ penalty: som(), weight: 0.1 }],
};

/** The same with IA³. */
const { rank: _, alpha: __, scaling: ___, dropout: ____, dora: _____, ...shared } = options.lora ?? {};
const ia3Options: TrainerOptions = { ...options, lora: { ...shared, ia3: true, feedforward: /fc2/ } };

const weightsOf = (model: Model) =>
  new Map(graphOf(model).initializers.map(({ name, initializer }) => [name, initializer?.numbers() ?? []]));

describe("a run with adapters", () => {
  test.each([
    {
      ...{ name: "DoRA", options, changes: ["fc1.weight", "fc2.weight"] },
      parts: [1, 2].flatMap((layer) =>
        ["A", "B", "magnitude_vector"].map((part) => `fc${layer}.weight.lora_${part}`),
      ),
    },
    {
      // Factors of results scale the bias too; fc2 keeps the one that both layers read.
      ...{ name: "IA³", options: ia3Options, changes: ["fc1.weight", "fc2.weight", "shared.bias.merged"] },
      parts: ["fc1.weight.ia3_l", "fc2.weight.ia3_l_input"],
    },
  ])(
    "resumes bit for bit, and writes the base with other weights: $name",
    async ({ name, options, changes, parts }) => {
      const folder = at(name);
      const whole = await Trainer.create(network(), options);
      const all = await losses(whole, train, { epochs: 2 });
      const exported = whole.export();

      const first = await Trainer.create(network(), options);
      const controller = new AbortController();
      const some: number[] = [];
      for await (const event of first.fit(train, {
        epochs: 2,
        signal: controller.signal,
        checkpoint: folder,
      })) {
        if (event.event !== "step") continue;
        some.push(event.loss);
        if (event.step === 9) controller.abort();
      }
      await first.release();
      expect(encodeModel(await readModel(join(folder, "model.onnx")))).toEqual(encodeModel(network()));
      const resumed = await Trainer.resume(folder);
      const rest = await losses(resumed, train, { checkpoint: folder });
      expect([...some, ...rest]).toEqual(all);
      expect(equalBytes(resumed.export().bytes, exported.bytes)).toBe(true);
      expect(equalBytes((await exportCheckpoint(folder)).bytes, exported.bytes)).toBe(true);
      expect(whole.step.ports.parameters.map(({ name }) => name).sort()).toEqual([
        "bn.bias",
        ...parts,
        ...["fc3.bias", "fc3.weight"],
      ]);
      const [before, after] = [weightsOf(network()), weightsOf(exported)];
      const changed = [...after].filter(([name, numbers]) => `${before.get(name)}` !== `${numbers}`);
      expect(changed.map(([name]) => name).sort()).toEqual([
        "bn.bias",
        ...[...changes, "fc3.bias", "fc3.weight"].sort(),
      ]);
      expect(graphOf(exported).nodes.map(({ label }) => label)).toEqual(
        graphOf(network()).nodes.map(({ label }) => label),
      );
      // The same run, its adapters left beside the layers and folded in afterwards.
      const unmerged = whole.export({ merge: false });
      expect((await inspect(unmerged)).parameters).toHaveLength(parts.length + 2);
      expect(equalBytes((await mergeAdapters(unmerged)).bytes, exported.bytes)).toBe(true);
      for (const trainer of [whole, resumed]) await trainer.release();
    },
  );

  test("keeps them beside quantized weights, and says so", async () => {
    const b = new GraphBuilder(18);
    const x = b.input("x", ["batch", 6]);
    const codes = Int8Array.from({ length: 48 }, (_, i) => ((i * 37) % 200) - 100);
    const w = b.graph.addInitializer(Tensor.of("fc1.weight", "int8", [6, 8], codes));
    const scale = b.graph.addInitializer(Tensor.float("scale", [], [0.01]));
    const wide = b.op("DequantizeLinear", [w, scale], "wide");
    const h = b.op("Relu", [b.op("MatMul", [x, wide], "fc1")], "h");
    b.output(b.op("Gemm", [h, b.weight("fc2.weight", [8, 3])], "logits"));
    const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
    const said: string[] = [];
    const trainer = await Trainer.create(model, {
      ...{
        objective: crossEntropy(),
        batch: 60,
        threads: 1,
        learningRate: 0.02,
        lora: { rank: 2 },
        onMessage: (text: string) => said.push(text),
      },
    });
    const list = await losses(trainer, train, { epochs: 6 });
    expect(list.at(-1)).toBeLessThan(list[0] ?? 0);
    expect(said.join("\n")).toMatch(/keeps its adapters beside its weights.*"fc1": its weight is quantized/);
    const trained = trainer.export();
    await trainer.release();
    await writeModel(trained, at("quantized.onnx"));
    expect(graphOf(trained).value("fc1.weight.lora_A")?.initializer).toBeDefined();
    await expect(mergeAdapters(trained)).rejects.toThrow(
      /nothing can be merged into "fc1": its weight is quantized/,
    );
    // Training such a file again trains its adapters.
    const again = await Trainer.create(trained, { objective: crossEntropy(), batch: 60, threads: 1 });
    expect(again.step.ports.parameters.map(({ name }) => name)).toEqual([
      "fc1.weight.lora_A",
      "fc1.weight.lora_B",
    ]);
    const [first = 0] = await losses(again, train, { maxSteps: 1 });
    expect(Math.abs(first - (list.at(-1) ?? 0))).toBeLessThan(0.2);
    await again.release();
  });

  test("on the command line: --lora with --classes, --adapter, --adapter-from, resumed, merged", async () => {
    const common = [
      "--data",
      at("d.npz"),
      "--batch",
      "8",
      "--penalty",
      "none",
      "--no-report",
      "--threads",
      "1",
    ];
    const lora = [
      "--lora",
      "rank=2,alpha=4,dropout=0.1,dora=false,include=fc[1,2]",
      "--lr",
      "0.01",
      ...common,
    ];
    const whole = await cli(
      "train",
      at("m.onnx"),
      ...lora,
      "--epochs",
      "3",
      "--adapter",
      at("a.safetensors"),
      "-o",
      at("w.onnx"),
    );
    expect(whole).toMatchObject({ code: 0 });
    expect(whole.stderr).toMatch(
      /adapters of rank 2 beside 2 layers \("fc1", "fc2"\): 2208 numbers to train/,
    );
    await cli(
      "train",
      at("m.onnx"),
      ...lora,
      "--epochs",
      "2",
      "-o",
      at("p.onnx"),
      "--adapter",
      at("b.safetensors"),
    );
    const resumed = await cli("train", "--resume", at("p.run"), "--epochs", "3", "--force");
    expect(resumed).toMatchObject({ code: 0 });
    const same = (a: string, b: string) => readFileSync(at(a)).equals(readFileSync(at(b)));
    expect(same("p.onnx", "w.onnx")).toBe(true);
    expect(same("b.safetensors", "a.safetensors")).toBe(true);
    expect(JSON.parse(readFileSync(at("adapter_config.json"), "utf8"))).toMatchObject({
      ...{ peft_type: "LORA", r: 2, lora_alpha: 4, lora_dropout: 0.1, target_modules: ["fc1", "fc2"] },
    });
    expect(
      await cli("merge", at("m.onnx"), "--adapter", at("a.safetensors"), "-o", at("merged.onnx")),
    ).toMatchObject({ code: 0 });
    const written = weightsOf(await readModel(at("w.onnx")));
    const merged = weightsOf(await readModel(at("merged.onnx")));
    expect([...merged]).toEqual([...written]);
    expect(
      await cli(
        "merge",
        at("m.onnx"),
        "--adapter",
        `${at("a.safetensors")}:0.5`,
        "--adapter",
        `${at("b.safetensors")}:0.5`,
      ),
    ).toMatchObject({ code: 0 });
    expect(existsSync(at("m.merged.onnx"))).toBe(true);

    const on = await cli(
      "train",
      at("m.onnx"),
      "--adapter-from",
      at("a.safetensors"),
      ...common,
      "--lr",
      "0",
      "--max-steps",
      "1",
      "-o",
      at("on.onnx"),
    );
    expect(on.stderr).toMatch(/adapters of rank 2 beside 2 layers/);
    expect([...weightsOf(await readModel(at("on.onnx")))]).toEqual([...written]);

    const classes = await cli(
      "train",
      at("m.onnx"),
      "--classes",
      "a,b,c",
      "--lora",
      ...common,
      "--max-steps",
      "2",
      "--adapter",
      at("c"),
      "-o",
      at("c.onnx"),
    );
    expect(classes).toMatchObject({ code: 0 });
    const adapter = await readAdapter(at("c"));
    expect([...adapter.saved.keys()]).toEqual(["logits.weight", "logits.bias"]);
    expect(adapter).toMatchObject({ rank: 8, alpha: 8 });
    const ort = [
      "--adapter-from",
      at("a.safetensors"),
      ...common,
      "--max-steps",
      "1",
      "--adapter",
      at("o.onnx_adapter"),
    ];
    expect(await cli("train", at("m.onnx"), ...ort, "-o", at("o.onnx"))).toMatchObject({ code: 0 });
    expect(existsSync(at("o.inputs.onnx"))).toBe(true);
    await cli("merge", at("m.onnx"), "--adapter", at("o.onnx_adapter"), "-o", at("om.onnx"));
    for (const [weight, numbers] of weightsOf(await readModel(at("om.onnx")))) {
      const trained = weightsOf(await readModel(at("o.onnx"))).get(weight) ?? [];
      expect(
        Math.max(...numbers.map((number, i) => Math.abs(number - (trained[i] ?? Number.NaN)))),
      ).toBeLessThan(1e-6);
    }
    expect(
      await cli(
        "train",
        at("m.onnx"),
        "--adapter-from",
        at("o.onnx_adapter"),
        ...common,
        "--max-steps",
        "1",
        "-o",
        at("oo.onnx"),
      ),
    ).toMatchObject({ code: 0 });

    const adapted = await addAdapters(await readModel(at("m.onnx")), { include: /fc1/ });
    await writeModel(adapted, at("adapted.onnx"));
    for (const command of ["evaluate", "inspect", "predict"]) {
      const data = command === "inspect" ? [] : ["--data", at("d.npz")];
      expect(await cli(command, at("adapted.onnx"), ...data)).toMatchObject({ code: 0 });
    }
    expect(await cli("merge", at("adapted.onnx"), "-o", at("back.onnx"))).toMatchObject({ code: 0 });
    expect(same("back.onnx", "m.onnx")).toBe(true);
  });

  test.each<[readonly string[], RegExp]>([
    [["train", "--lora", "rank=0"], /--lora .* whole number of 1 or more/],
    [["train", "--lora", "rnk=2"], /"rnk=2" is no setting of adapters/],
    [["train", "--lora", "rank=2,rank=3"], /gives rank twice/],
    [["train", "--lora", "scaling=half"], /scaling=lora or scaling=rslora/],
    [["train", "--lora", "include=nothing"], /include nothing matches no layer; near it/],
    [["train", "--lora", "dora=yes"], /dora=true or dora=false/],
    [["train", "--lora", "dropout=1"], /at least 0 and below 1/],
    [["train", "--lora", "ia3=true,rank=2"], /ia3 trains factors of layers, which have no rank/],
    [["train", "--lora", "feedforward=fc1"], /feedforward names layers whose inputs IA³ scales/],
    [
      ["train", "--lora", "ia3=true,include=fc1,feedforward=fc2"],
      /feedforward fc2 matches no layer that gets/,
    ],
    [["train", "--adapter", "x.safetensors"], /--adapter belongs to --lora/],
    [["train", "--lora", "--freeze", "lora"], /depends on no trainable parameter/],
    [["train", "--adapter-from", "none.safetensors"], /cannot read the adapter .*none.safetensors/],
    [["merge"], /no adapters to merge: give an adapter/],
  ])("%j is refused", async ([command = "", ...flags], reason) => {
    const data = command === "train" ? ["--data", at("d.npz"), "--batch", "8"] : [];
    const { code, stderr } = await cli(command, at("m.onnx"), ...data, ...flags, "-o", at("refused.onnx"));
    expect(stderr).toMatch(reason);
    expect(code).toBeGreaterThan(0);
    expect(existsSync(at("refused.onnx"))).toBe(false);
  });
});

test.each(["{", "[]", "null", '{"version":1,"layers":[1]}', '{"version":1,"layers":{}}'])(
  "a damaged record of adapters, %s, is refused in words",
  async (record) => {
    const graph = graphOf(await addAdapters(network(), { rank: 2 }));
    graph.metadata.set("sorth.adapters", record);
    const model = Model.fromProto(graphToProto(graph));
    await expect(Trainer.create(model, options)).rejects.toThrow(/^(metadata_props|nothing is left)/);
  },
);

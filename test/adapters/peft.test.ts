import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeParameters } from "../../src/adapters/onnx-adapter-file.ts";
import {
  type Adapter,
  adapterOf,
  crossEntropy,
  encodeAdapter,
  encodeModel,
  encodeOnnxAdapter,
  graphOf,
  loadAdapter,
  loadNpz,
  type Model,
  mergeAdapters,
  readAdapter,
  readModel,
  sampleFeeds,
  type Tensor,
  Trainer,
  writeAdapter,
  writeOnnxAdapter,
} from "../../src/index.ts";
import { adamw } from "../../src/optimizers/public.ts";
import { runModel } from "../helpers/run-model.ts";

// scripts/oracles/adapters.py
const folder = "test/fixtures/peft";
const bases = {
  model: ["lora", "rslora", "dora", "ia3"],
  tokens: ["embedding", "dora-embedding", "groups", "ia3-groups"],
  nbits: ["dora-nbits"],
  dequantize: ["dora-dequantize"],
  // A packed weight inside of com.microsoft.Attention, as PEFT adapts that of torch.nn.MultiheadAttention.
  attention: ["attention", "dora-attention", "ia3-attention"],
  blocks: ["blocks", "dora-blocks"],
  // PEFT has no adapters for transposed convolutions: by their formula in PyTorch.
  upward: ["upward", "dora-upward", "ia3-upward"],
} as const;
type Base = keyof typeof bases;
type Case = (typeof bases)[Base][number];
const names = Object.values(bases).flat();
/** Adapters that stay beside the layers: what PEFT has merged is no weight of theirs. */
const staying: readonly Case[] = ["groups", "dora-nbits", "dora-dequantize", "blocks", "dora-blocks"];
interface Recorded {
  readonly losses: readonly number[];
  readonly logits: readonly number[];
  readonly weights: Readonly<Record<string, readonly number[]>>;
}
const json = <T>(name: string): T => JSON.parse(readFileSync(`${folder}/${name}`, "utf8")) as T;
const record = json<Record<Case, Recorded>>("record.json");

/** The model beside which the adapter of a case lies, with its data. */
async function baseOf(name: Case) {
  const base = Object.entries(bases).find(([, cases]) => (cases as readonly Case[]).includes(name))?.[0];
  const model = await readModel(`${folder}/${base}.onnx`);
  const { train } = await loadNpz(`${folder}/${base}.npz`);
  const x = (await sampleFeeds(model, train, 24)).get("x") as Tensor;
  const logitsOf = async (one: Model): Promise<readonly number[]> =>
    ((await runModel(encodeModel(one), { x })).logits as Tensor).numbers();
  return { base: model, train, logitsOf };
}

const farthest = (a: readonly number[], b: readonly number[]): number =>
  a.length === b.length
    ? Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? Number.NaN))))
    : Number.NaN;

describe.each(names)("an adapter of PEFT: %s", (name) => {
  test("has the same losses over 20 steps, merged weights and answers; PEFT reads the file that we write", async () => {
    const { base, train, logitsOf } = await baseOf(name);
    const adapted = await loadAdapter(base, await readAdapter(`${folder}/${name}/begin`));
    const trainer = await Trainer.create(adapted, {
      ...{ objective: crossEntropy(), batch: 24, learningRate: 0.02, optimizer: adamw(), threads: 1 },
    });
    const losses: number[] = [];
    for await (const event of trainer.fit(train, { epochs: 20 })) {
      if (event.event === "step") losses.push(event.loss);
    }
    const trained = trainer.export();
    await trainer.release();
    expect(farthest(losses, record[name].losses)).toBeLessThan(1e-5);

    const stays = staying.includes(name);
    const applied = async (adapter: Adapter) =>
      stays ? loadAdapter(base, adapter) : mergeAdapters(base, adapter);
    const end = await readAdapter(`${folder}/${name}/end`);
    const theirs = await applied(end);
    if (stays) {
      const reason =
        /nothing can be merged into .*: (it is a convolution with groups|its weight has|its weight is)/;
      await expect(mergeAdapters(trained)).rejects.toThrow(reason);
      await expect(mergeAdapters(base, end)).rejects.toThrow(reason);
    }
    const merged = stays ? trained : await mergeAdapters(trained);
    expect(farthest(await logitsOf(theirs), record[name].logits)).toBeLessThan(1e-5);
    for (const [key, numbers] of Object.entries(record[name].weights)) {
      const value = graphOf(theirs).value(key.replace("base_model.model.", ""));
      // TorchScript stores the transposes of linear layers on tokens under names of its own.
      if (!value?.initializer) expect(key).toMatch(/qkv|proj/);
      else {
        expect(farthest(value.initializer.numbers(), numbers)).toBeLessThan(1e-6);
        const own = graphOf(merged).valueNamed(value.name).initializer?.numbers() ?? [];
        expect(farthest(own, numbers)).toBeLessThan(1e-4);
      }
    }

    // PEFT has loaded this file and answered (ours.json); what training writes today has the same numbers.
    const adapter = await adapterOf(trained);
    if (process.env.RECORD_ADAPTERS) await writeAdapter(adapter, `${folder}/${name}/ours`, { force: true });
    const ours = await readAdapter(`${folder}/${name}/ours`);
    expect((await encodeAdapter(ours)).config).toBe(
      readFileSync(`${folder}/${name}/ours/adapter_config.json`, "utf8"),
    );
    for (const [i, layer] of adapter.layers.entries()) {
      expect(layer.module).toBe(ours.layers[i]?.module);
      const [own, recorded] = [layer, ours.layers[i]].map((one) => one && (one.up ?? one.factors).numbers());
      expect(farthest(own ?? [], recorded ?? [])).toBeLessThan(1e-5);
    }
    if (process.env.RECORD_ADAPTERS) return;
    const answers = await logitsOf(await applied(ours));
    expect(farthest(answers, json<Record<Case, number[]>>("ours.json")[name])).toBeLessThan(1e-5);
  });
});

describe.each([
  ...["lora", "dora", "ia3", "embedding", "groups", "dora-nbits", "attention", "blocks", "upward"],
] as const)("an adapter of ONNX Runtime: %s", (name) => {
  test("is read by ONNX Runtime, which answers as the merged model; we read what it writes", async () => {
    const theirs = await readAdapter(`${folder}/${name}/end`);
    const { base: file, logitsOf } = await baseOf(name);
    // A head that was trained in full is in the graph, not in the adapter.
    const base = theirs.saved.size > 0 ? await mergeAdapters(file, { ...theirs, layers: [] }) : file;
    const adapted = await loadAdapter(base, theirs);
    const path = `${folder}/${name}/ours.onnx_adapter`;
    if (process.env.RECORD_ADAPTERS) {
      await writeOnnxAdapter(adapted, path, { force: true });
      return;
    }
    const { adapter, model } = await encodeOnnxAdapter(adapted);
    expect(Buffer.from(adapter).equals(readFileSync(path))).toBe(true);
    expect(Buffer.from(encodeModel(model)).equals(readFileSync(path.replace(/\w+$/, "inputs.onnx")))).toBe(
      true,
    );
    // Answers of ONNX Runtime in Python, with RunOptions.add_active_adapter.
    const answers = json<Record<typeof name, { with: number[]; without: number[] }>>("onnx.json")[name];
    expect(farthest(answers.with, record[name].logits)).toBeLessThan(1e-5);
    expect(farthest(answers.without, await logitsOf(base))).toBeLessThan(2e-6);
    expect(farthest(await logitsOf(model), answers.without)).toBeLessThan(2e-6);

    const read = await readAdapter(`${folder}/${name}/ort.onnx_adapter`);
    expect(read.layers.map(({ module }) => module).join()).toMatch(
      /fc1?\.weight|conv\.weight|attn\.in_proj_weight|emb\.weight|up1\.weight/,
    );
    const applied = staying.includes(name) ? await loadAdapter(base, read) : await mergeAdapters(base, read);
    expect(farthest(await logitsOf(applied), record[name].logits)).toBeLessThan(1e-5);
    expect(await readAdapter(path)).toMatchObject({ dora: name.startsWith("dora"), ia3: name === "ia3" });
    for (const damaged of [adapter.slice(0, 40), adapter.slice(0, adapter.length - 9), new Uint8Array(30)]) {
      expect(() => decodeParameters(damaged, "it")).toThrow(/it is (a damaged|no) adapter of ONNX Runtime/);
    }
  });
});

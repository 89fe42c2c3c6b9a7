import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  adapterOf,
  crossEntropy,
  encodeAdapter,
  encodeModel,
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
} from "../../src/index.ts";
import { adamw } from "../../src/optimizers/public.ts";
import { runModel } from "../helpers/run-model.ts";

// scripts/oracles/adapters.py
const folder = "test/fixtures/peft";
const names = ["lora", "rslora", "dora"] as const;
type Case = (typeof names)[number];
interface Recorded {
  readonly losses: readonly number[];
  readonly logits: readonly number[];
  readonly weights: Readonly<Record<string, readonly number[]>>;
}
const json = <T>(name: string): T => JSON.parse(readFileSync(`${folder}/${name}`, "utf8")) as T;
const record = json<Record<Case, Recorded>>("record.json");
const data = await loadNpz(`${folder}/data.npz`);
const feeds = await sampleFeeds(await readModel(`${folder}/model.onnx`), data.train, 24);
const x = feeds.get("x") as Tensor;

const logitsOf = async (model: Model): Promise<readonly number[]> =>
  ((await runModel(encodeModel(model), { x })).logits as Tensor).numbers();

const farthest = (a: readonly number[], b: readonly number[]): number =>
  a.length === b.length
    ? Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? Number.NaN))))
    : Number.NaN;

describe.each(names)("an adapter of PEFT: %s", (name) => {
  test("has the same losses over 20 steps, merged weights and answers; PEFT reads the file that we write", async () => {
    const base = await readModel(`${folder}/model.onnx`);
    const adapted = await loadAdapter(base, await readAdapter(`${folder}/${name}/begin`));
    const trainer = await Trainer.create(adapted, {
      ...{ objective: crossEntropy(), batch: 24, learningRate: 0.02, optimizer: adamw(), threads: 1 },
    });
    const losses: number[] = [];
    for await (const event of trainer.fit(data.train, { epochs: 20 })) {
      if (event.event === "step") losses.push(event.loss);
    }
    const trained = trainer.export();
    await trainer.release();
    expect(farthest(losses, record[name].losses)).toBeLessThan(1e-5);

    const merged = await mergeAdapters(trained);
    const theirs = await mergeAdapters(base, await readAdapter(`${folder}/${name}/end`));
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
      expect(farthest(layer.up.numbers(), ours.layers[i]?.up.numbers() ?? [])).toBeLessThan(1e-5);
    }
    if (process.env.RECORD_ADAPTERS) return;
    const answers = await logitsOf(await mergeAdapters(base, ours));
    expect(farthest(answers, json<Record<Case, number[]>>("ours.json")[name])).toBeLessThan(1e-5);
  });
});

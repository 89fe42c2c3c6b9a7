import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { namedDataset } from "../../src/data/array-dataset.ts";
import {
  adapterOf,
  crossEntropy,
  encodeModel,
  type Model,
  readModel,
  Tensor,
  Trainer,
  writeAdapter,
} from "../../src/index.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { runModel } from "../helpers/run-model.ts";

const python = process.env.SORTH_PYTHON ?? "";
const [sequences, tokens] = [6, 5];
const ids = Int32Array.from({ length: sequences * tokens }, (_, i) => (i * 7 + (i % 5)) % 48);

/** An adapter that was trained here beside a Llama's float32, 4-bit or 8-bit weights, and PEFT's answers with it beside the dequantized ones. */
describe.skipIf(python === "")("a decoder's adapter, loaded by PEFT (needs SORTH_PYTHON with peft)", () => {
  const folder = temporaryFolder();
  afterAll(folder.remove);
  const at = (name: string) => join(folder.path, name);
  const oracle = (command: string) =>
    execFileSync(python, ["scripts/oracles/decoder_adapters.py", command, folder.path], { stdio: "pipe" });

  test("answers the same, whichever type the base had", async () => {
    oracle("export");
    const rows = Array.from({ length: sequences }, (_, i) => [...ids.subarray(i * tokens, (i + 1) * tokens)]);
    writeFileSync(at("ids.json"), JSON.stringify(rows));
    const input = Tensor.of("input_ids", "int64", [sequences, tokens], BigInt64Array.from(ids, BigInt));
    const logitsOf = async (model: Model) =>
      // Optimized, ONNX Runtime rounds what the layers of int8 read (docs/fine-tuning.md).
      (
        (await runModel(encodeModel(model), { input_ids: input }, { optimize: false })).logits as Tensor
      ).numbers();
    const data = namedDataset({
      inputs: { input_ids: { data: ids, shape: [tokens] } },
      labels: { data: ids.map((id) => (id * 3) % 48), shape: [tokens] },
    });
    const ours: Record<string, Record<"without" | "with", readonly number[]>> = {};
    for (const name of ["float", "int4", "int8"]) {
      const model = await readModel(at(`${name}.onnx`));
      const trainer = await Trainer.create(model, {
        ...{ objective: crossEntropy({ classAxis: -1 }), penalties: [], batch: 3, learningRate: 0.05 },
        ...{ lora: { rank: 2, alpha: 4 }, dims: { tokens } },
      });
      for await (const { loss } of trainer.fit(data, { epochs: 3 })) expect(loss).toBeGreaterThan(0);
      const trained = trainer.export({ merge: false });
      await trainer.release();
      const adapter = await adapterOf(trained);
      expect(adapter.layers).toHaveLength(14);
      await writeAdapter(adapter, at(name));
      ours[name] = { without: await logitsOf(model), with: await logitsOf(trained) };
    }
    oracle("answer");
    const theirs = JSON.parse(readFileSync(at("answers.json"), "utf8")) as typeof ours;
    for (const [name, answers] of Object.entries(ours)) {
      const distance = (of: "without" | "with", to: readonly number[]) =>
        Math.max(...answers[of].map((value, i) => Math.abs(value - (to[i] ?? Number.NaN))));
      expect(distance("without", theirs[name]?.without ?? []), name).toBeLessThan(1e-5);
      expect(distance("with", theirs[name]?.with ?? []), name).toBeLessThan(1e-5);
      expect(distance("with", answers.without), name).toBeGreaterThan(0.01);
    }
  }, 300_000);
});

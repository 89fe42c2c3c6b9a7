import { describe, expect, it, test } from "vitest";
import { DataError, UsageError } from "../src/errors.ts";
import { arrayDataset, crossEntropy, namedDataset, readModel, Trainer } from "../src/index.ts";
import { causalLm } from "../src/losses/public.ts";
import { withoutOptions } from "../src/told-options.ts";
import { cli, temporaryFolder } from "./cli/run-cli.ts";
import { tokenDecoder } from "./helpers/token-decoder.ts";

describe("an error names the options of the library where it names flags alone", () => {
  it.each([
    ["give it with --dim x.1=N", "give it with --dim x.1=N (in code: dims)"],
    ["use --batch 4, or --dim x.0=4", "use --batch 4, or --dim x.0=4 (in code: batch, dims)"],
    ["give it more (--classes)", "give it more (--classes) (in code: classes)"],
    ["--ignore-index 3 marks them", "--ignore-index 3 marks them (in code: ignoreIndex)"],
    ["it ends early: --no-early-stop", "it ends early: --no-early-stop (in code: earlyStop: false)"],
    // What is named already, and flags without an option.
    ["leave buckets out (--buckets)", "leave buckets out (--buckets)"],
    ["give penaltyWeight (--weight)", "give penaltyWeight (--weight)"],
    ["run: npm install --ignore-scripts x", "run: npm install --ignore-scripts x"],
    ["--list shows them", "--list shows them"],
    ["--constructor is no flag", "--constructor is no flag"],
  ])("%s", (message, told) => {
    expect(new UsageError(message).message).toBe(told);
    expect(withoutOptions(told)).toBe(message);
    // An error inside of another names them once, at the end.
    const outer = new DataError(`x.onnx: ${new UsageError(message).message}: see --epochs`).message;
    expect(outer.startsWith(`x.onnx: ${message}: see --epochs`)).toBe(true);
    expect(outer.match(/in code/g) ?? []).toHaveLength(told === message ? 0 : 1);
  });

  it("buckets without lengths, of a trainer", async () => {
    const ids = { data: new Int32Array(4 * 8), shape: [8] };
    const data = namedDataset({ inputs: { input_ids: ids, attention_mask: ids } });
    const how = { objective: causalLm(), batch: 2, buckets: [4, 8] };
    await expect(
      (async () => {
        const trainer = await Trainer.create(tokenDecoder(), how as never);
        for await (const _ of trainer.fit(data));
      })(),
    ).rejects.toThrow(/\(in code: .*(dims|length)/);
  });
});

test("the command line names flags alone", async () => {
  const folder = temporaryFolder();
  const model = await readModel("models/mlp.onnx");
  const data = arrayDataset(new Float32Array(8 * 784), new Int32Array(8), [1, 28, 28]);
  const trainer = await Trainer.create(model, { objective: crossEntropy(), batch: 4 });
  await expect(trainer.fit(data, { monitor: "accuracy" }).next()).rejects.toThrow("validation");
  await trainer.release();
  const { stderr } = await cli(
    "grad",
    "models/mlp.onnx",
    "--objective",
    "cross-entropy",
    "-o",
    `${folder.path}/g.onnx`,
  );
  expect(stderr).toContain("--batch");
  expect(stderr).not.toContain("in code");
  folder.remove();
});

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unusableNumber } from "../../src/analysis/unusable-numbers.ts";
import {
  arrayDataset,
  crossEntropy,
  decodeModel,
  evaluateModel,
  inject,
  responseAngles,
  sgd,
  som,
  Trainer,
  verify,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { data, features, model, models, samples } from "./hostile-models.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

// docs/numbers.md: hostile numbers × commands, each with its defined behaviour.

let folder: ReturnType<typeof temporaryFolder>;
const at = (name: string) => join(folder.path, name);
beforeAll(() => {
  folder = temporaryFolder();
  for (const [name, kind] of Object.entries(models)) writeFileSync(at(`${name}.onnx`), model(kind));
  for (const [name, bytes] of Object.entries(data)) writeFileSync(at(`${name}.npz`), bytes);
});
afterAll(() => folder.remove());

/** A command on a model and data, and what it must say: an exit code, and a pattern for stdout and stderr together. */
type Row = readonly [command: string, model: string, data: string, code: number, says: RegExp];

const notTrained =
  /the model's "fc1.weight" holds (NaN|Infinity) at \[1, 1\]: nothing can be trained from there/;
const noData = /x holds (NaN|-Infinity) in sample 2 \(element 1\)/;
const twoClasses = /needs logits .* two classes or more/;
const rows: readonly Row[] = [
  ["inspect", "nan", "", 0, /advice: "fc1.weight" holds NaN at \[1, 1\]/],
  ["inspect", "infinite", "", 0, /advice: "fc1.weight" holds Infinity at \[1, 1\]/],
  ["inspect", "negative-variance", "", 0, /advice: "bn.var" holds a variance below 0 \(-1\)/],
  ["inspect", "zero-size", "", 0, /fc1 +Gemm +one unit has no pairs/],
  ["inject", "nan", "", 0, /"fc1.weight" holds NaN at \[1, 1\]/],
  ["inject", "one-unit", "", 0, /fc1: no penalty: one unit has no pairs/],
  ["inject", "zero-size", "", 0, /fc1: no penalty: one unit has no pairs/],
  ["inject", "huge", "", 0, /→/],
  ["inject", "one-class", "", 0, /→/],
  ["inject", "denormal", "", 0, /→/],
  ["inject", "dead", "", 0, /→/],
  ["inject", "scale-negative", "", 0, /→/],
  ["grad", "one-class", "", 1, twoClasses],
  ["grad", "zero-size", "", 2, /no initializer looks like a parameter/],
  ["step", "nan", "", 1, notTrained],
  ["train", "nan", "plain", 1, notTrained],
  ["train", "infinite", "plain", 1, notTrained],
  ["train", "negative-variance", "plain", 0, /running variance "bn.var" is below 0 \(-1\).*→/s],
  ["step", "negative-variance", "", 0, /running variance "bn.var" is below 0 \(-1\)/],
  ["train", "huge", "plain", 1, /the loss became NaN at step 1; the state after step 0 is kept in/],
  ["train", "denormal", "plain", 0, /→/],
  ["train", "dead", "plain", 0, /→/],
  ["train", "scale-0", "plain", 0, /→/],
  ["train", "scale-negative", "plain", 0, /→/],
  ["train", "one-unit", "plain", 0, /fc1: no penalty: one unit has no pairs.*→/s],
  ["train", "good", "denormal-data", 0, /→/],
  ["train", "one-class", "plain", 1, twoClasses],
  ["train", "good", "nan-data", 1, noData],
  ["train", "good", "infinite-data", 1, noData],
  ["train", "good", "constant", 0, /→/],
  ["train", "good", "same-class", 0, /→/],
  ["train", "good", "empty", 1, /there are no samples/],
  ["train", "good", "one-sample", 2, /a batch of 4 is larger than the 1 training samples/],
  ["find-lr", "nan", "plain", 1, notTrained],
  ["find-lr", "huge", "plain", 1, /the loss became NaN at step 1/],
  ["bench", "nan", "", 1, notTrained],
  [
    "evaluate",
    "nan",
    "plain",
    0,
    /12 of 12 samples have no finite loss, the first is sample 0.*accuracy 0.00 %/s,
  ],
  ["evaluate", "negative-variance", "plain", 0, /12 of 12 samples have no finite loss/],
  ["evaluate", "good", "nan-data", 1, noData],
  ["evaluate", "good", "one-sample", 0, /1 sample, loss \d/],
  ["evaluate", "one-class", "plain", 1, twoClasses],
  ["evaluate", "scale-negative", "constant", 0, /loss \d/],
  ["evaluate", "good", "empty", 1, /there are no samples/],
  ["evaluate", "huge", "plain", 0, /have no finite loss.*loss not defined/s],
  ["train", "zero-size", "plain", 1, /the loss depends on no trainable parameter/],
  ["predict", "nan", "plain", 0, /12 of 12 samples have scores that are not defined/],
  ["predict", "good", "infinite-data", 1, noData],
  ["predict", "one-class", "plain", 0, /12 samples of/],
  [
    "angles",
    "nan",
    "plain",
    0,
    /fc1: skipped, its weight holds NaN or Infinity.*fc1: skipped, its responses hold NaN/s,
  ],
  ["angles", "huge", "plain", 0, /fc1: 10 pairs of units alike/],
  ["angles", "dead", "plain", 0, /fc1: 2 dead units \(0, 1\)/],
  ["angles", "zero-size", "plain", 0, /dead units/],
  ["angles", "good", "one-sample", 0, /one row of responses: angles need at least two/],
  ["angles", "good", "denormal-data", 0, /response angles/],
  ["head", "nan", "", 0, /4 new units/],
  ["tap", "nan", "", 0, /added outputs: relu/],
  ["artifacts", "zero-size", "", 1, /the loss depends on no trainable parameter/],
];

/** What each command needs besides the model and the data. */
const flags: Readonly<Record<string, readonly string[]>> = {
  inject: ["--batch", "4", "-o", "OUT.onnx"],
  grad: ["--objective", "cross-entropy", "--batch", "4", "-o", "OUT.onnx"],
  step: ["--batch", "4", "-o", "OUT.onnx"],
  train: ["--batch", "4", "--max-steps", "2", "--threads", "1", "-o", "OUT.onnx"],
  "find-lr": ["--batch", "4", "--steps", "3"],
  bench: ["--batch", "4", "--rounds", "1", "--round-time", "1"],
  predict: ["-o", "OUT.csv"],
  head: ["--classes", "4", "-o", "OUT.onnx"],
  tap: ["--include", "relu", "-o", "OUT.onnx"],
  artifacts: ["-o", "OUT.art"],
};

let runs = 0;
async function run([command, name, source]: readonly string[], more: readonly string[] = []) {
  const out = at(`out${runs++}`);
  const own = [...(flags[command ?? ""] ?? []), ...more].map((flag) => flag.replace("OUT", out));
  const given = source ? ["--data", at(`${source}.npz`)] : [];
  return { out, ...(await cli(command ?? "", at(`${name}.onnx`), ...given, ...own)) };
}

test.each(rows)("%s of %s %s", async (command, name, source, code, says) => {
  const result = await run([command, name, source]);
  expect({ code: result.code, text: `${result.stderr}${result.stdout}` }).toEqual({
    code,
    text: expect.stringMatching(says),
  });
  expect(result.stderr).not.toMatch(/unexpected|TypeError|RangeError/);
});

describe("figures that are not defined", () => {
  test("are null in JSON, empty in CSV, and no NaN anywhere", async () => {
    const evaluation = JSON.parse(
      (await run(["evaluate", "nan", "plain"], ["--json", "--metrics", "auc,f1"])).stdout,
    );
    expect(evaluation).toMatchObject({ loss: null, accuracy: 0 });
    expect(evaluation.worst[0]).toMatchObject({ sample: 0, loss: null, answer: null });
    expect(JSON.parse((await run(["angles", "nan", "plain"], ["--json"])).stdout)).toBeTypeOf("object");
    for (const csv of ["--csv"])
      expect((await run(["angles", "nan", "plain"], [csv])).stdout).not.toMatch(/,NaN|Infinity,/);
    const { out } = await run(["predict", "infinite", "plain"]);
    const lines = readFileSync(`${out}.csv`, "utf8").trim().split("\n");
    expect(lines).toHaveLength(samples + 1);
    expect(lines.join("\n")).not.toMatch(/NaN|Infinity/);
    const page = await run(["evaluate", "nan", "plain"], ["--html", at("page.html")]);
    expect(page.code).toBe(0);
    expect(readFileSync(at("page.html"), "utf8").replace(/<script[\s\S]*?<\/script>/g, "")).not.toMatch(
      /\bNaN\b/,
    );
  });

  test("a run that ends at NaN keeps the state before", async () => {
    const { out } = await run(["train", "huge", "plain"]);
    const kept = await Trainer.resume(`${out}.run`);
    const weight = kept.state().parameters.get("fc1.weight")?.numbers() ?? [];
    expect(new Set(weight)).toEqual(new Set([Math.fround(3e38)]));
    await kept.release();
  });
});

test("sizes for which there is no array are an error for users", async () => {
  const [path, injected] = [at("batch-1e12.onnx"), at("injected-1e12.onnx")];
  expect((await cli("inject", path, "-o", injected)).code).toBe(0);
  const given = ["--data", at("plain.npz")];
  for (const words of [
    ["train", path, ...given, "-o", at("never.onnx")],
    ["evaluate", path, ...given],
    ["predict", path, ...given, "-o", at("never.csv")],
    ["bench", path, "--batch", "1000000000000", "--rounds", "1", "--round-time", "1"],
    ["verify", path, injected],
  ]) {
    const { code, stderr } = await cli(...words);
    expect({ words, code, stderr }).toEqual({
      ...{ words, code: 1 },
      stderr: expect.stringMatching(
        /^error: (the model's sizes|"\w+" has the sizes \[1000000000000[\d,]*\], which) need an array larger .*--batch/m,
      ),
    });
  }
});

test("NaN and Infinity are found in 16-bit weights too", () => {
  const numberIn = (type: "float16" | "bfloat16", bits: number) =>
    unusableNumber(Tensor.of("w", type, [2, 2], Uint16Array.of(0, 0x3c00, bits, 0x7c00)));
  expect(numberIn("float16", 0xfc00)).toBe("-Infinity at [1, 0]");
  expect(numberIn("float16", 0x7e00)).toBe("NaN at [1, 0]");
  expect(numberIn("bfloat16", 0x7fc0)).toBe("NaN at [1, 0]");
  expect(numberIn("bfloat16", 0x7c00)).toBeUndefined();
});

/** Numbers of flags: what is refused, and what is taken. */
test.each([
  ["--lr", "nan", /a number of 0 or more/],
  ["--lr", "1e400", /a number of 0 or more/],
  ["--lr", "1e39", /a number of 0 or more/],
  ["--lr", "0x10", /a number of 0 or more/],
  ["--lr", "-1", /a number of 0 or more/],
  ["--lr", "", /a number of 0 or more/],
  ["--batch", "1.5", /a whole number of 1 or more/],
  ["--batch", "0x8", /a whole number of 1 or more/],
  ["--batch", "0b1", /a whole number of 1 or more/],
  ["--batch", "9007199254740992", /a whole number of 1 or more/],
  ["--epochs", "0", /a whole number of 1 or more/],
  ["--seed", "4294967296", /from 0 to 4294967295/],
  ["--gamma", "0", /a number above 0/],
  ["--gamma", "-1", /a number above 0/],
  ["--gamma", "1e-50", /a number above 0/],
  ["--penalty", "som:gamma=-1", /gamma must be above 0, not -1/],
  ["--penalty", "som:gamma=1e39", /gamma/],
  ["--momentum", "0.9999999999", /below 1/],
  ["--penalty", "so:weight=0x10", /weight of the penalty so must be a number of at least 0, not "0x10"/],
  ["--penalty", "som:gamma=0x10", /gamma.*0x10/],
  ["--schedule", "exponential:factor=0x1", /factor.*0x1/],
  ["--optimizer", "adam:beta1=0x0", /beta1.*0x0/],
  ["--class-weights", "1,0x2,1,1", /a weight of classWeights must be .*, not NaN/],
  ["--checkpoint-every", "0x10", /Give block, or a whole number of 1 or more/],
] as const)("train %s=%s is refused", async (flag, value, says) => {
  const { code, stderr } = await cli(
    "train",
    at("good.onnx"),
    "--data",
    at("plain.npz"),
    `${flag}=${value}`,
    ...(flag === "--momentum" ? ["--optimizer", "sgd"] : []),
    "-o",
    at("never.onnx"),
  );
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(says) });
});

test("a learning rate of 0 changes running statistics alone; one of 1e38 ends at the state before NaN", async () => {
  const trained = async (rate: string) => {
    const result = await run(
      ["train", "good", "plain"],
      ["--epochs", "9", `--lr=${rate}`, "--optimizer", "sgd"],
    );
    return result;
  };
  const still = await trained("-0");
  expect(still.code).toBe(0);
  const [before, after] = [decodeModel(model()), decodeModel(readFileSync(`${still.out}.onnx`))].map(
    ({ proto }) =>
      new Map((proto.graph?.initializer ?? []).map((one) => [one.name, Buffer.from(one.rawData ?? [])])),
  );
  for (const [name, bytes] of before ?? []) {
    const same = bytes.equals(after?.get(name) ?? Buffer.alloc(0));
    expect([name, same]).toEqual([name, name !== "bn.mean" && name !== "bn.var"]);
  }
  const broken = await trained("1e38");
  expect(broken.code).toBe(1);
  expect(broken.stderr).toMatch(
    /the loss became (NaN|Infinity|-Infinity) at step \d+.*(is kept in|was restored|last good state)/,
  );
});

test("the library does the same", async () => {
  const open = (name: string) => decodeModel(model(models[name]));
  await expect(Trainer.create(open("nan"), { objective: crossEntropy(), batch: 4 })).rejects.toThrow(
    notTrained,
  );
  for (const learningRate of [Number.NaN, 1e39, -1]) {
    await expect(
      Trainer.create(open("good"), { objective: crossEntropy(), batch: 4, learningRate }),
    ).rejects.toThrow(/learning rate/);
  }
  expect(() => sgd({ momentum: 1 - 1e-12 })).toThrow(/momentum/);
  expect(() => som({ gamma: Number.NaN })).toThrow(/gamma/);
  const said: string[] = [];
  const onMessage = (text: string) => void said.push(text);
  const dataset = arrayDataset(randomFloats("x", 16), Int32Array.of(0, 1, 2, 0), [features]);
  const { loss, accuracy, worst } = await evaluateModel(open("nan"), dataset, { onMessage });
  expect([loss, accuracy, worst[0]?.answer]).toEqual([Number.NaN, 0, -1]);
  const injected = await inject(open("nan"), { penalties: [{ penalty: som() }], onMessage });
  expect(said.join("\n")).toMatch(
    /4 of 4 samples have no finite loss[\s\S]*"fc1.weight" holds NaN at \[1, 1\]/,
  );
  const { checks } = await verify(open("nan"), injected);
  expect(checks.find(({ name }) => name === "batch stays free")).toMatchObject({ status: "noted" });
  const x = Tensor.float("x", [4, features], new Float32Array(16).fill(Number.NaN));
  const { skipped } = await responseAngles(open("good"), { x });
  expect(skipped.map(({ reason }) => reason)).toEqual(["its responses hold NaN", "its responses hold NaN"]);
});

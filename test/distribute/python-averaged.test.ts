import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readModel, writeModel } from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { network } from "../runtime/small-run.ts";
import { expectNear, missingPython, PythonRuns, quiet, sorth } from "./python-runs.ts";

const runs = new PythonRuns();
const { at, losses, runPython } = runs;
const data = ["--data", at("data.npz")];

beforeAll(async () => {
  await runs.begin();
  await writeModel(network(), at("model.onnx"), { force: true });
});
afterAll(() => runs.remove());

/** The numbers of a model's initializers by name. */
async function weightsOf(name: string): Promise<ReadonlyMap<string, readonly number[]>> {
  const tensors = ((await readModel(at(name))).proto.graph?.initializer ?? []).map((one) =>
    Tensor.fromProto(one),
  );
  return new Map(tensors.map((tensor) => [tensor.name, tensor.numbers()]));
}

describe("averaged weights of workers", () => {
  skipWithout(missingPython);
  const run = [
    "--batch",
    "16",
    "--epochs",
    "3",
    "--penalty",
    "none",
    "--optimizer",
    "sgd",
    "--lr",
    "0.05",
    "--swa",
    "4",
  ];

  it("have BatchNorm's statistics on the joint data without held-out samples, as those of train", async () => {
    const held = ["--validation", "0.25"];
    await sorth(
      "train",
      at("model.onnx"),
      ...data,
      ...run,
      ...held,
      "--from",
      "last",
      "-o",
      at("theirs.onnx"),
      ...quiet,
    );
    const shares = ["--workers", "2", "--exact", "--quiet"];
    await sorth("distribute", at("model.onnx"), ...run, "-o", at("dir"), ...shares);
    await runPython("dir", 2, ...data, ...held, "--checkpoint", "mine", "-o", "mine.onnx");
    expectNear(losses("mine"), losses("theirs.run"), 1e-5);
    const [mine, theirs] = [await weightsOf("mine.onnx"), await weightsOf("theirs.onnx")];
    expect([...mine.keys()]).toEqual([...theirs.keys()]);
    for (const [name, numbers] of mine) expectNear(numbers, theirs.get(name) ?? [], 1e-5);
    // Those of the run, from which the checkpoint goes on, are others.
    await sorth("export", at("mine"), "-o", at("run.onnx"), "--quiet");
    expect((await weightsOf("run.onnx")).get("bn.mean")).not.toEqual(mine.get("bn.mean"));
  }, 60_000);

  it("of an epoch that nothing chooses are refused before the run begins", async () => {
    const asked = ["--checkpoint", "none", "-o", "none.onnx", "--from"];
    const refusal = (from: string) =>
      runPython("dir", 1, ...data, ...asked, from).catch((reason: { stderr: string }) => reason.stderr);
    expect(await refusal("best")).toContain("of best (--from) needs held-out samples: give --validation");
    expect(await refusal("epoch-2")).toContain("no epoch's checkpoint stays without --keep");
    expect(existsSync(at("none/run.jsonl"))).toBe(false);
  }, 60_000);
});

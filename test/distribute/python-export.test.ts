import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readModel } from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { expectNear, missingPython, PythonRuns, quiet, sorth } from "./python-runs.ts";

const runs = new PythonRuns();
const { at, runPython } = runs;
const data = ["--data", at("data.npz")];

beforeAll(() => runs.begin());
afterAll(() => runs.remove());

/** The numbers of a model's initializers by name. */
async function weightsOf(path: string): Promise<ReadonlyMap<string, readonly number[]>> {
  const { proto, external } = await readModel(path);
  const tensors = (proto.graph?.initializer ?? []).map((one) => Tensor.fromProto(one, external));
  return new Map(tensors.map((tensor) => [tensor.name, Array.from(tensor.data, Number)]));
}

/** The numbers of a safetensors file of float32. */
function numbersIn(path: string): readonly number[] {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE());
  return Array.from(
    new Float32Array(bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length)),
  );
}

describe("the trained model of workers", () => {
  skipWithout(missingPython);

  it("with adapters comes from the run's folder, as train writes it, and the adapter alone", async () => {
    const run = ["--batch", "16", "--max-steps", "20", "--epochs", "4", "--penalty", "none", "--lr", "0.01"];
    const all = [at("model.onnx"), ...run, "--lora", "rank=2"];
    const files = (name: string) => ["-o", at(`${name}.onnx`), "--adapter", at(`${name}.safetensors`)];
    await sorth("train", ...all, ...data, ...files("theirs"), ...quiet);
    await sorth("distribute", ...all, "-o", at("dir"), "--workers", "2", "--quiet");
    const refused = await runPython("dir", 1, ...data, "--checkpoint", "run", "-o", "mine.onnx").catch(
      (reason: { stderr: string }) => reason.stderr,
    );
    expect(refused).toContain("behind the run: sorth-onnx export run -o mine.onnx\n");
    await runPython("dir", 1, ...data, "--checkpoint", "run");
    await sorth("export", at("run"), ...files("mine"), "--quiet");
    const [mine, theirs] = [await weightsOf(at("mine.onnx")), await weightsOf(at("theirs.onnx"))];
    const before = await weightsOf(at("model.onnx"));
    expect([...mine.keys()]).toEqual([...theirs.keys()]);
    for (const [name, numbers] of mine) expectNear(numbers, theirs.get(name) ?? [], 1e-5);
    expect(mine.get("fc1.weight")).not.toEqual(before.get("fc1.weight"));
    expectNear(numbersIn(at("mine.safetensors")), numbersIn(at("theirs.safetensors")), 1e-5);
  }, 60_000);
});

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, beforeAll, expect, it } from "vitest";
import { splitRows } from "../../src/data/batches.ts";
import { readModel, writeModel } from "../../src/index.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";
import { network } from "../runtime/small-run.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const [samples, features, seed] = [64, 6, 3];

beforeAll(() => writeModel(network(), at("model.onnx")));
afterAll(() => folder.remove());

/** The model that a run leaves, if the held-out samples have these numbers and this class. */
async function trained(value: number, label: number): Promise<Uint8Array> {
  const x = Float32Array.from(randomFloats("x", samples * features));
  const y = Int32Array.from(randomInts("y", samples, 0, 3));
  for (const row of splitRows("data", samples, 0.25, seed).validation) {
    x.fill(value, row * features, (row + 1) * features);
    y[row] = label;
  }
  const arrays = {
    "x.npy": npyBytes({ descr: "<f4", shape: [samples, features], data: x }),
    "y.npy": npyBytes({ descr: "<i4", shape: [samples], data: y }),
  };
  writeFileSync(at("data.npz"), zipSync(arrays));
  const { code, stderr } = await cli(
    ...["train", at("model.onnx"), "--data", at("data.npz"), "--validation", "0.25", "--seed", `${seed}`],
    ...["--class-weights", "balanced", "--normalize", "data", "--swa", "1", "--epochs", "2", "--batch", "16"],
    ...["--from", "last", "--penalty", "none", "--no-report", "--force", "-o", at("trained.onnx")],
  );
  expect(code, stderr).toBe(0);
  const { graph } = (await readModel(at("trained.onnx"))).proto;
  return Buffer.concat((graph?.initializer ?? []).map(({ rawData }) => rawData ?? new Uint8Array()));
}

it("nothing of the held-out samples reaches the trained model: class weights, scaling, BatchNorm of averaged weights", async () => {
  const one = await trained(1, 0);
  expect(one.length).toBeGreaterThan(0);
  expect(await trained(7, 2)).toEqual(one);
});

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Model, readModel } from "../../src/index.ts";
import { npz } from "./npz.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const fixture = (name: string) => `test/fixtures/recipes/${name}.onnx`;

/** The nodes without their biases: these untrained exports share theirs, or have none, so that each layer gets its own. */
const nodesOf = ({ proto }: Model) =>
  proto.graph?.node?.map(({ opType, input, output }) => [opType, input?.slice(0, 2), output]);

beforeAll(() => {
  writeFileSync(
    at("d.npz"),
    npz(24, [3, 4, 4], (index) => index % 3),
  );
});
afterAll(() => folder.remove());

const common = ["--penalty", "none", "--epochs", "2", "--no-report"];

for (const name of ["torch-script-eval", "torch-default-eval", "keras"]) {
  test(`train --batch-norm recover on ${name}: the file has the same nodes`, async () => {
    const data = name === "keras" ? at("last.npz") : at("d.npz");
    if (name === "keras")
      writeFileSync(
        data,
        npz(24, [4, 4, 3], (index) => index % 3),
      );
    const flags = [...common, "--data", data, "--batch-norm", "recover:samples=16", "-o", at(`${name}.onnx`)];
    const { code, stderr } = await cli(
      "train",
      fixture(name),
      ...flags,
      ...(name === "keras" ? ["--batch", "8"] : []),
    );
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(/BatchNorm recovered behind 2 of 3 layers from 16 samples/),
    });
    const [before, after] = [await readModel(fixture(name)), await readModel(at(`${name}.onnx`))];
    expect(nodesOf(after)).toEqual(nodesOf(before));
  });
}

test("a stopped run goes on to the bit, with the model or without it", async () => {
  const model = fixture("torch-script-eval");
  const run = [...common, "--data", at("d.npz"), "--batch-norm", "recover", "--validation", "0.25"];
  expect((await cli("train", model, ...run, "-o", at("whole.onnx"))).code).toBe(0);
  for (const path of [[], [model]]) {
    await cli("train", model, ...run, "--max-steps", "5", "-o", at("half.onnx"), "--force");
    const words = ["train", ...path, "--resume", at("half.run"), "--max-steps", "18", "--force"];
    expect(await cli(...words)).toMatchObject({ code: 0 });
    expect(readFileSync(at("half.onnx")).equals(readFileSync(at("whole.onnx")))).toBe(true);
  }
  const exported = await cli("export", "--checkpoint", at("half.run"), "-o", at("exported.onnx"));
  expect(exported.code).toBe(0);
  expect(nodesOf(await readModel(at("exported.onnx")))).toEqual(nodesOf(await readModel(model)));
});

test("says what it does not accept", async () => {
  const refused = async (choice: string, ...more: string[]) =>
    cli("train", fixture("keras"), "--data", at("d.npz"), "--batch-norm", choice, ...more);
  expect(await refused("thaw")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/train, frozen, recover/),
  });
  expect(await refused("recover:samples=0")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/samples/),
  });
  expect(await refused("recover:layers=x")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/no such option/),
  });
  expect(await refused("frozen:samples=3")).toMatchObject({ code: 2 });
  const step = await cli("step", fixture("keras"), "--batch", "4", "--batch-norm", "recover");
  expect(step).toMatchObject({ code: 2, stderr: expect.stringMatching(/choices are train, frozen\./) });
  const none = await cli("train", "models/mlp.onnx", "--data", "mnist", "--batch-norm", "recover:exclude=.");
  expect(none.stderr).toMatch(/no layer reads as one that BatchNorm was folded into/);
});

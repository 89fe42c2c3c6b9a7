import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeModel, Model } from "../../src/index.ts";
import { onnx } from "../../src/onnx/schema.js";
import { skipWithout } from "../helpers/skip-without.ts";
import { missingPython, PythonRuns, sorth } from "./python-runs.ts";
import { smallModel } from "./small-model.ts";

const runs = new PythonRuns();
const { at, runPython } = runs;
const data = ["--data", at("data.npz")];

beforeAll(() => runs.begin());
afterAll(() => runs.remove());

/** The bytes of files of the folder. */
const bytesOf = (...names: string[]) => names.map((name) => readFileSync(at(name)));

/** Writes the small model with its numbers in `base.data`. */
function writeExternal(): void {
  const { proto } = smallModel();
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const tensor of proto.graph?.initializer ?? []) {
    if ((tensor.dims?.length ?? 0) < 2) continue;
    const raw = tensor.rawData ?? new Uint8Array();
    parts.push(raw);
    tensor.rawData = new Uint8Array();
    tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    tensor.externalData = Object.entries({ location: "base.data", offset, length: raw.length }).map(
      ([key, value]) => new onnx.StringStringEntryProto({ key, value: `${value}` }),
    );
    offset += raw.length;
  }
  writeFileSync(at("base.data"), Buffer.concat(parts));
  writeFileSync(at("base.onnx"), encodeModel(Model.fromProto(proto)));
}

describe("the trained model of workers", () => {
  skipWithout(missingPython);
  const run = ["--batch", "16", "--max-steps", "20", "--epochs", "4", "--penalty", "none", "--lr", "0.01"];

  it("with adapters has the bytes of sorth-onnx export", async () => {
    const all = [at("model.onnx"), ...run, "--lora", "rank=2"];
    await sorth("distribute", ...all, "-o", at("dir"), "--workers", "2", "--quiet");
    await runPython("dir", 2, ...data, "--checkpoint", "run", "-o", "mine.onnx");
    await sorth("export", at("run"), "-o", at("theirs.onnx"), "--quiet");
    const [mine, theirs] = bytesOf("mine.onnx", "theirs.onnx");
    expect(mine).toEqual(theirs);
    const weight = smallModel().proto.graph?.initializer?.find(({ name }) => name === "fc1.weight");
    expect(mine?.includes(Buffer.from(weight?.rawData ?? []))).toBe(false);
  }, 60_000);

  it("of a base in external data: in data of its own, and the base lies in the folder once", async () => {
    writeExternal();
    await sorth("distribute", at("base.onnx"), ...run, "--lora", "rank=2", "-o", at("far"), "--quiet");
    const copies = readdirSync(at("far"), { recursive: true, encoding: "utf8" }).filter((name) =>
      name.endsWith("base.data"),
    );
    expect(copies).toEqual(["base.data"]);
    await runPython("far", 1, ...data, "--checkpoint", "far.run", "-o", "far.onnx");
    mkdirSync(at("other"));
    await sorth("export", at("far.run"), "-o", at("other/far.onnx"), "--quiet");
    const files = ["far.onnx", "far.onnx.data"];
    expect(bytesOf(...files)).toEqual(bytesOf(...files.map((name) => `other/${name}`)));
    // Written again, the former model and its data are whole until the new ones are.
    await runPython("far", 1, ...data, "--checkpoint", "far2.run", "-o", "far.onnx", "--force");
    const now = readdirSync(at("")).filter((name) => name.startsWith("far.onnx"));
    expect(now.sort()).toEqual(["far.onnx", "far.onnx.2.data"]);
    const [first, second] = bytesOf("other/far.onnx.data", "far.onnx.2.data");
    expect(second).toEqual(first);
  }, 60_000);
});

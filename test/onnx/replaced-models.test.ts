import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Long from "long";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { graphOf } from "../../src/graph/model-graph.ts";
import { readModel, writeModel } from "../../src/onnx/files-node.ts";
import { Model } from "../../src/onnx/model.ts";
import { onnx } from "../../src/onnx/schema.js";

/** What happens to the file system, step by step. */
const disk = vi.hoisted(() => ({
  before: (): Promise<void> => Promise.resolve(),
  /** Open files of processes that were killed: nobody else closes them. */
  left: new Set<{ close(): Promise<void> }>(),
}));
vi.mock("node:fs/promises", async (original) => {
  const fs = await original<typeof import("node:fs/promises")>();
  const step =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await disk.before();
      return call(...args);
    };
  const { open, rename, link, rm, chmod } = fs;
  return {
    ...{ ...fs, rename: step(rename), link: step(link), rm: step(rm), chmod: step(chmod) },
    async open(...args: Parameters<typeof open>) {
      await disk.before();
      const handle = await open(...args);
      disk.left.add(handle);
      return Object.assign(handle, {
        write: step(handle.write.bind(handle) as (...args: unknown[]) => Promise<unknown>),
        sync: () => disk.before(),
      });
    },
  };
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-replaced-"));
});
afterEach(async () => {
  disk.before = () => Promise.resolve();
  for (const file of disk.left) await file.close();
  disk.left.clear();
  await rm(folder, { recursive: true });
});
const at = (name: string) => join(folder, name);

/** y = x + w, with the numbers of w in the file "base.data" or here. */
function adder(numbers?: readonly number[]): Uint8Array {
  const w = new onnx.TensorProto({ name: "w", dataType: 1, dims: [Long.fromNumber(4)] });
  if (numbers) w.rawData = new Uint8Array(Float32Array.from(numbers).buffer);
  else {
    w.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    w.externalData = [{ key: "location", value: "base.data" }];
  }
  const graph = new onnx.GraphProto({ name: "adder", initializer: [w] });
  graph.node = [new onnx.NodeProto({ opType: "Add", input: ["x", "w"], output: ["y"] })];
  graph.input = [new onnx.ValueInfoProto({ name: "x" })];
  graph.output = [new onnx.ValueInfoProto({ name: "y" })];
  const opsetImport = [new onnx.OperatorSetIdProto({ version: Long.fromNumber(17) })];
  return Model.fromProto(new onnx.ModelProto({ irVersion: Long.fromNumber(8), opsetImport, graph })).bytes;
}

/** A model whose external weight got new numbers, as training and merging make it. */
async function edited(numbers: readonly number[]): Promise<Model> {
  await writeFile(at("base.data"), new Uint8Array(Float32Array.of(0, 0, 0, 0).buffer));
  await writeFile(at("base.onnx"), adder());
  return Model.spliced([adder(numbers)], await readModel(at("base.onnx")), ["w"]);
}
const weightsIn = async (name: string) =>
  graphOf(await readModel(at(name)))
    .valueNamed("w")
    .initializer?.numbers();
const [before, after] = [[1, 2, 3, 4], [5, 6, 7, 8, 9].slice(0, 4)];
const files = async () => (await readdir(folder)).filter((name) => name.startsWith("out")).sort();

describe("a model with data of its own that takes the place of another", () => {
  it("is there with its data or not at all, wherever the process is killed", async () => {
    const seen = new Set<string>();
    let stopped = 0;
    for (let stop = 0; ; stop++) {
      for (const name of await readdir(folder)) await rm(at(name));
      await writeModel(await edited(before), at("out.onnx"));
      const model = await edited(after);
      let steps = 0;
      const killed = new Promise<"killed">((resolve) => {
        // What a killed process had still to do never happens.
        disk.before = () =>
          steps++ < stop
            ? Promise.resolve()
            : new Promise(() => {
                resolve("killed");
              });
      });
      const end = await Promise.race([killed, writeModel(model, at("out.onnx"), { force: true })]);
      disk.before = () => Promise.resolve();
      const found = await weightsIn("out.onnx");
      expect([before, after]).toContainEqual(found);
      seen.add(`${found}`);
      stopped = stop;
      if (end === "killed") continue;
      expect(found).toEqual(after);
      break;
    }
    expect([...seen]).toEqual([`${before}`, `${after}`]);
    expect(stopped).toBeGreaterThan(10);
    expect(await files()).toEqual(["out.onnx", "out.onnx.2.data"]);
  });

  it("leaves what was there, and nothing of its own, when the disk is full", async () => {
    for (let stop = 0; ; stop++) {
      for (const name of await readdir(folder)) await rm(at(name));
      await writeModel(await edited(before), at("out.onnx"));
      const model = await edited(after);
      let steps = 0;
      disk.before = () =>
        steps++ === stop
          ? Promise.reject(Object.assign(new Error("full"), { code: "ENOSPC" }))
          : Promise.resolve();
      const error = await writeModel(model, at("out.onnx"), { force: true }).catch((error: unknown) => error);
      disk.before = () => Promise.resolve();
      if (!error) break;
      expect(await weightsIn("out.onnx")).toEqual(before);
      // The step that fails may be the removal of a temporary file.
      expect((await files()).filter((name) => !name.endsWith(".tmp"))).toEqual(["out.onnx", "out.onnx.data"]);
    }
  });

  it("uses two names by turns, and takes no file that another model names", async () => {
    for (const numbers of [before, after, before])
      await writeModel(await edited(numbers), at("out.onnx"), { force: true });
    expect(await files()).toEqual(["out.onnx", "out.onnx.data"]);
    await writeFile(at("other.onnx"), await readFile(at("out.onnx")));
    for (const numbers of [after, after, after])
      await writeModel(await edited(numbers), at("out.onnx"), { force: true });
    expect(await weightsIn("other.onnx")).toEqual(before);
    expect(await weightsIn("out.onnx")).toEqual(after);
    expect(await files()).toEqual(["out.onnx", "out.onnx.2.data", "out.onnx.data"]);
  });

  it("uses the name that an interrupted process left, with force", async () => {
    await writeFile(at("out.onnx.data"), "left");
    await writeModel(await edited(before), at("out.onnx"), { force: true });
    expect(await files()).toEqual(["out.onnx", "out.onnx.data"]);
    expect(await weightsIn("out.onnx")).toEqual(before);
  });

  it("keeps the data of the model from which it was made", async () => {
    await writeModel(await edited(before), at("out.onnx"));
    const model = Model.spliced([adder(after)], await readModel(at("out.onnx")), ["w"]);
    await writeModel(model, at("out.onnx"), { force: true });
    expect(await weightsIn("out.onnx")).toEqual(after);
    expect(await files()).toEqual(["out.onnx", "out.onnx.2.data", "out.onnx.data"]);
  });
});

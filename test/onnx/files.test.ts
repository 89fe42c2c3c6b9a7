import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Long from "long";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { graphOf } from "../../src/graph/model-graph.ts";
import { readModel, writeFileSafely, writeModel } from "../../src/onnx/files-node.ts";
import { readModel as readWebModel } from "../../src/onnx/files-web.ts";
import { Model } from "../../src/onnx/model.ts";
import { onnx } from "../../src/onnx/schema.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-files-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** y = x + w, with w of 4 floats in another file (or inline, without a location). */
function adder(location?: string, range: Record<string, string> = {}): Model {
  const weight = new onnx.TensorProto({ name: "w", dataType: 1, dims: [Long.fromNumber(4)] });
  if (location === undefined) weight.rawData = new Uint8Array(16);
  else {
    weight.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    weight.externalData = Object.entries({ location, ...range }).map(([key, value]) => ({ key, value }));
  }
  const graph = new onnx.GraphProto({
    name: "adder",
    node: [{ opType: "Add", input: ["x", "w"], output: ["y"] }],
    input: [{ name: "x" }],
    output: [{ name: "y" }],
    initializer: [weight],
  });
  return Model.fromProto(
    new onnx.ModelProto({
      irVersion: Long.fromNumber(8),
      opsetImport: [{ version: Long.fromNumber(17) }],
      graph,
    }),
  );
}

const floats = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
const weightOf = (model: Model): number[] => graphOf(model).valueNamed("w").initializer?.numbers() ?? [];

describe("readModel", () => {
  it("reads what writeModel wrote", async () => {
    const path = join(folder, "m.onnx");
    await writeModel(adder(), path);
    const model = await readModel(path);
    expect(model.proto.graph?.name).toBe("adder");
    expect(model.bytes).toEqual(adder().bytes);
  });

  it.each([
    ["an empty file", new Uint8Array(), /is empty/],
    ["JSON", new TextEncoder().encode('{"graph": {}}'), /not an ONNX model/],
    ["a truncated model", adder().bytes.slice(0, -9), /not an ONNX model, or a truncated one/],
    ["random bytes", Uint8Array.from({ length: 400 }, (_, i) => (i * 197 + 31) % 251), /not an ONNX model/],
  ])("refuses %s in one line that names the file", async (_, bytes, reason) => {
    const path = join(folder, "bad.onnx");
    await writeFile(path, bytes);
    await expect(readModel(path)).rejects.toThrow(reason);
    await expect(readModel(path)).rejects.toThrow(path);
    await expect(readModel(path)).rejects.not.toThrow("\n");
  });

  it("refuses a folder and a missing file", async () => {
    await expect(readModel(folder)).rejects.toThrow(/it is a folder/);
    await expect(readModel(join(folder, "none.onnx"))).rejects.toThrow(/no such file/);
  });
});

describe("models above protobuf's limit", () => {
  it("are refused with what to do, before anything is written", async () => {
    const path = join(folder, "large.onnx");
    const handle = await open(path, "w");
    await handle.truncate(2 ** 31);
    await handle.close();
    await expect(readModel(path)).rejects.toThrow(
      /has 2147483648 bytes and protobuf allows 2 GB; save it with external/,
    );
    const half = new Uint8Array(2 ** 30);
    const large = Model.spliced([half, half], adder());
    await expect(writeModel(large, join(folder, "out.onnx"))).rejects.toThrow(
      /keep its weights as external data/,
    );
    expect(await readdir(folder)).toEqual(["large.onnx"]);
  });
});

describe("external data", () => {
  async function written(location: string, range?: Record<string, string>): Promise<Model> {
    await writeFile(join(folder, "m.onnx"), adder(location, range).bytes);
    return readModel(join(folder, "m.onnx"));
  }

  it("is read at its offset", async () => {
    await writeFile(join(folder, "w.bin"), Buffer.concat([Buffer.alloc(64), floats]));
    expect(weightOf(await written("w.bin", { offset: "64", length: "16" }))).toEqual([1, 2, 3, 4]);
    expect(weightOf(await written("./w.bin", { offset: "64" }))).toEqual([1, 2, 3, 4]);
  });

  it("may be missing until it is used", async () => {
    const model = await written("w.bin");
    expect(() => weightOf(model)).toThrow(/w\.bin": no such file or folder; put it beside the model/);
  });

  it("must lie within the file", async () => {
    await writeFile(join(folder, "w.bin"), floats);
    const late = await written("w.bin", { offset: "8" });
    expect(() => weightOf(late)).toThrow(/has 16 bytes, but the model places a tensor at bytes 8 to 24/);
    const negative = await written("w.bin", { offset: "-8" });
    expect(() => weightOf(negative)).toThrow(/has 16 bytes/);
  });

  it.each(["../w.bin", "/etc/passwd", "a/../../w.bin", "..\\w.bin", "C:\\w.bin", ""])(
    "refuses %j, which is outside the folder",
    async (location) => {
      const model = await written(location);
      expect(() => weightOf(model)).toThrow(/not a file inside its folder/);
    },
  );

  it("refuses a link that leads out of the folder, follows one inside", async () => {
    const outside = join(folder, "outside.bin");
    await writeFile(outside, floats);
    await mkdir(join(folder, "models"));
    await writeFile(join(folder, "models", "real.bin"), floats);
    await symlink(outside, join(folder, "models", "out.bin"));
    await symlink("real.bin", join(folder, "models", "in.bin"));
    for (const [location, check] of [
      [
        "out.bin",
        (m: Model) => expect(() => weightOf(m)).toThrow(/link to a file outside the model's folder/),
      ],
      ["in.bin", (m: Model) => expect(weightOf(m)).toEqual([1, 2, 3, 4])],
    ] as const) {
      const path = join(folder, "models", `${location}.onnx`);
      await writeFile(path, adder(location).bytes);
      check(await readModel(path));
    }
  });

  it("is never a pipe, a device, a folder or a file of the system, and no longer than its tensor", async () => {
    await mkdir(join(folder, "traps"));
    execFileSync("mkfifo", [join(folder, "traps", "pipe")]);
    await symlink("pipe", join(folder, "traps", "to-pipe"));
    await symlink("/dev/zero", join(folder, "traps", "zero"));
    await symlink("/proc/self/environ", join(folder, "traps", "environ"));
    await symlink("/", join(folder, "traps", "root"));
    await writeFile(join(folder, "traps", "sparse"), "");
    await truncate(join(folder, "traps", "sparse"), 1e11);
    const huge = { length: "100000000000" };
    for (const [location, message, range] of [
      ["pipe", /it is a pipe, a device or a socket/],
      ["to-pipe", /it is a pipe, a device or a socket/],
      ["zero", /link to a file outside/],
      ["environ", /link to a file outside/],
      ["root/etc/passwd", /link to a file outside/],
      [".", /not a file inside its folder/],
      ["sparse\0.bin", /not a file inside its folder/],
      ["sparse", /100000000000/, huge],
    ] as const) {
      const path = join(folder, "traps", "m.onnx");
      await writeFile(path, adder(location, range).bytes);
      const model = await readModel(path);
      expect(() => weightOf(model), location).toThrow(message);
    }
    await expect(readModel(join(folder, "traps", "pipe"))).rejects.toThrow(
      /it is a pipe, a device or a socket/,
    );
  });

  it("is shared in the same folder, copied to another, and never overwritten", async () => {
    await mkdir(join(folder, "data"));
    await writeFile(join(folder, "data", "w.bin"), floats);
    const model = await written("data/w.bin");
    await writeModel(model, join(folder, "same.onnx"));
    expect((await readdir(folder)).sort()).toEqual(["data", "m.onnx", "same.onnx"]);

    await mkdir(join(folder, "other"));
    await writeModel(model, join(folder, "other", "m.onnx"));
    expect(weightOf(await readModel(join(folder, "other", "m.onnx")))).toEqual([1, 2, 3, 4]);
    await writeModel(model, join(folder, "other", "again.onnx"));

    await writeFile(join(folder, "other", "data", "w.bin"), Buffer.alloc(16));
    const clash = writeModel(model, join(folder, "other", "clash.onnx"), { force: true });
    await expect(clash).rejects.toThrow(/exists with other content/);
    expect(await readdir(join(folder, "other"))).not.toContain("clash.onnx");
  });

  it("comes from a map of files on the web", async () => {
    const model = await readWebModel(new Blob([adder("w.bin").bytes.slice()]), new Map([["w.bin", floats]]));
    expect(weightOf(model)).toEqual([1, 2, 3, 4]);
    const lone = await readWebModel(adder("w.bin").bytes);
    expect(() => weightOf(lone)).toThrow(/"w.bin" is missing; choose it together/);
  });
});

describe("writeFileSafely", () => {
  it("replaces a file only with force", async () => {
    const path = join(folder, "f.txt");
    await writeFileSafely(path, "one");
    await expect(writeFileSafely(path, "two")).rejects.toMatchObject({ exitCode: 2 });
    expect(await readFile(path, "utf8")).toBe("one");
    await writeFileSafely(path, [new Uint8Array([52]), new Uint8Array([50])], { force: true });
    expect(await readFile(path, "utf8")).toBe("42");
    expect(await readdir(folder)).toEqual(["f.txt"]);
  });

  it("leaves nothing behind when the content fails", async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(1000);
      throw new Error("no more");
    }
    const path = join(folder, "f.bin");
    await expect(writeFileSafely(path, failing())).rejects.toThrow(/cannot write .*no more/);
    expect(await readdir(folder)).toEqual([]);
  });

  it("leaves nothing behind when the process is interrupted", async () => {
    const module = new URL("../../src/onnx/write-file.ts", import.meta.url).href;
    const script = join(folder, "write.mts");
    const target = join(folder, "out");
    await mkdir(target);
    await writeFile(
      script,
      `import { writeFileSafely } from ${JSON.stringify(module)};
      async function* endless() {
        for (;;) {
          yield new Uint8Array(1000);
          process.send?.("writing");
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      }
      await writeFileSafely(${JSON.stringify(join(target, "f.bin"))}, endless());`,
    );
    const child = fork(script, { execArgv: ["--import", "tsx"], stdio: "ignore" });
    await once(child, "message");
    expect(await readdir(target)).toEqual([expect.stringMatching(/^\.f\.bin\..*\.tmp$/)]);
    child.kill("SIGINT");
    const [, signal] = await once(child, "exit");
    expect(signal).toBe("SIGINT");
    expect(await readdir(target)).toEqual([]);
  });

  it("refuses a folder and a path in no folder", async () => {
    await expect(writeFileSafely(folder, "x", { force: true })).rejects.toThrow(/it is a folder/);
    await expect(writeFileSafely(join(folder, "no", "f"), "x")).rejects.toThrow(/no such file or folder/);
  });
});

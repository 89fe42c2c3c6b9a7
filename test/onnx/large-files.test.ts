import { chmod, mkdtemp, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { strip } from "../../src/block/strip.ts";
import { withConversion } from "../../src/data/conversion.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  differentiate,
  inject,
  inspect,
  meanSquaredError,
  som,
  weightAngles,
  writeModel,
} from "../../src/index.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { computedTensor } from "../../src/onnx/computed-tensor.ts";
import { crc32 } from "../../src/onnx/crc32.ts";
import { readModel, readModelInParts } from "../../src/onnx/files-node.ts";
import { decodeModel, Model } from "../../src/onnx/model.ts";
import { skim, skimPieces } from "../../src/onnx/skim.ts";
import type { StoredFile } from "../../src/onnx/stored.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { withWeights } from "../../src/programs/export.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** A model of 2.6 MB: two products with 1.1 MB of weights each, and six with 66 KB. */
function largeModel(): Uint8Array {
  const b = new GraphBuilder();
  let x = b.input("x", ["batch", 128]);
  const product = (name: string, from: number, to: number) => {
    x = b.op("Relu", [b.op("MatMul", [x, b.weight(name, [from, to])], `${name}.h`)], `${name}.r`);
  };
  product("wide", 128, 2200);
  product("back", 2200, 128);
  for (let i = 0; i < 3; i++) {
    product(`w${i}`, 128, 130);
    product(`v${i}`, 130, 128);
  }
  b.output(x);
  return encodeModelProto(graphToProto(b.graph));
}

/** A file in memory that counts the bytes that are read from it. */
class CountedFile implements StoredFile {
  readonly path = "model.onnx";
  readonly #bytes: Uint8Array;
  taken = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#bytes.length;
  }

  read(start: number, end: number): Uint8Array {
    this.taken += end - start;
    return this.#bytes.slice(start, end);
  }

  isAtPath(): boolean {
    return true;
  }
}

const bytes = largeModel();

/** The model of a counted file, and the bytes read since it was opened. */
function counted(): { model: Model; read: () => number } {
  const file = new CountedFile(bytes);
  const skimmed = skim(file);
  if (!skimmed) throw new Error("the file is unusual");
  return { model: Model.fromSkimmed(file, skimmed, {}, skimPieces), read: () => file.taken };
}

/** A model's messages, with the numbers of each initializer as a checksum: their order may differ. */
function contentOf({ proto }: Model): unknown {
  const initializers = (proto.graph?.initializer ?? []).map(
    ({ name, dims, rawData }) => `${name} [${dims}] ${crc32(rawData ?? new Uint8Array())}`,
  );
  return {
    ...{ opsets: proto.opsetImport, metadata: proto.metadataProps, initializers: initializers.sort() },
    ...{ nodes: proto.graph?.node, inputs: proto.graph?.input, outputs: proto.graph?.output },
  };
}

describe("the weights of a large file", () => {
  const options = { penalties: [som()], batch: 2 };
  /** What is read anyway: a buffer at each record that lies behind a weight. */
  const records = bytes.length / 8;

  it("are read by no command that does not need them", async () => {
    const { model, read } = counted();
    const whole = decodeModel(bytes);
    expect(model.size).toBe(bytes.length);
    const injected = await inject(model, options);
    const found = await inspect(model);
    expect(read()).toBeLessThan(records);
    expect(found).toEqual(await inspect(whole));
    expect(equalBytes(injected.bytes, (await inject(whole, options)).bytes)).toBe(true);
    expect(equalBytes(strip(injected).bytes, bytes)).toBe(true);
    expect(equalBytes(model.bytes, bytes)).toBe(true);
  });

  it("are read once where they are needed, and give the same numbers", async () => {
    const { model, read } = counted();
    const angles = await weightAngles(model);
    expect(read()).toBeLessThan(records + bytes.length);
    expect(angles).toEqual(await weightAngles(decodeModel(bytes)));
  });

  it("are referred to, not read, when a graph with them is encoded", async () => {
    const gradients = { objective: meanSquaredError(), batch: 2, wrt: /^w1$/ };
    const { model, read } = counted();
    const before = read();
    const { model: written } = await differentiate(model, gradients);
    const { pieces } = written;
    expect(read() - before).toBeLessThan(bytes.length / 4);
    expect(pieces.length).toBeGreaterThan(1);
    const { model: expected } = await differentiate(decodeModel(bytes), gradients);
    expect(contentOf(decodeModel(written.bytes))).toEqual(contentOf(decodeModel(expected.bytes)));
  });
});

describe("the weights of a large model that was edited in memory", () => {
  it("are not copied, neither into its records nor by its message", () => {
    const model = Model.fromBytesSkimming(largeModel(), {}, skimPieces);
    const name =
      model.proto.graph?.initializer?.find(({ rawData }) => (rawData?.length ?? 0) > 1e6)?.name ?? "";
    const numbers = Float32Array.from({ length: 128 * 2200 }, (_, i) => i);
    const edited = withWeights(model, new Map([[name, Tensor.of(name, "float", [128, 2200], numbers)]]));
    const again = withConversion(edited, { version: 1 });
    for (const one of [edited, again]) {
      const found = one.proto.graph?.initializer?.find((tensor) => tensor.name === name);
      expect(found?.rawData?.buffer).toBe(numbers.buffer);
      const { initializer } = graphOf(Model.fromBytes(one.bytes)).valueNamed(name);
      expect(initializer && equalBytes(initializer.bytes, new Uint8Array(numbers.buffer))).toBe(true);
    }
  });
});

describe("weights that are computed when they are read", () => {
  it("are computed by those that read them, once each, and not for what lies beside them", async () => {
    let computed = 0;
    const numbers = Float32Array.from({ length: 128 * 2200 }, (_, i) => i);
    const model = Model.fromBytesSkimming(largeModel(), {}, skimPieces);
    const name =
      model.proto.graph?.initializer?.find(({ rawData }) => (rawData?.length ?? 0) > 1e6)?.name ?? "";
    const tensor = computedTensor(name, "float", [128, 2200], () => {
      computed++;
      return new Uint8Array(numbers.slice().buffer);
    });
    const first = withWeights(model, new Map([[name, tensor]]));
    const edited = withConversion(first, { version: 1 });
    const found = graphOf(edited).valueNamed(name).initializer;
    const folder = await mkdtemp(join(tmpdir(), "sorth-computed-"));
    expect(computed).toBe(0);
    await writeModel(edited, join(folder, "m.onnx"));
    expect(computed).toBe(1);
    expect(found && equalBytes(found.bytes, new Uint8Array(numbers.buffer))).toBe(true);
    const written = graphOf(await readModel(join(folder, "m.onnx"))).valueNamed(name).initializer;
    expect(written && equalBytes(written.bytes, new Uint8Array(numbers.buffer))).toBe(true);
    const expected = withConversion(
      withWeights(
        decodeModel(largeModel()),
        new Map([[name, Tensor.of(name, "float", [128, 2200], numbers)]]),
      ),
      { version: 1 },
    );
    expect(equalBytes(edited.bytes, expected.bytes)).toBe(true);
    await rm(folder, { recursive: true });
  });
});

describe("a large file on the disk", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "sorth-large-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function stored(name: string): Promise<{ path: string; model: Model }> {
    const path = join(folder, name);
    await writeFile(path, bytes);
    return { path, model: await readModelInParts(path, 0) };
  }
  const injectedBytes = async () =>
    (await inject(decodeModel(bytes), { penalties: [som()], batch: 2 })).bytes;

  it("is copied as a whole, and only what differs is written", async () => {
    const { path, model } = await stored("a.onnx");
    await chmod(path, 0o444);
    const to = join(folder, "a-som.onnx");
    await writeModel(await inject(model, { penalties: [som()], batch: 2 }), to);
    expect(equalBytes(await readFile(to), await injectedBytes())).toBe(true);
    expect((await stat(to)).mode & 0o200).toBe(0o200);
    const back = join(folder, "a-back.onnx");
    await writeModel(strip(await readModelInParts(to, 0)), back);
    expect(equalBytes(await readFile(back), bytes)).toBe(true);
    expect((await readdir(folder)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("may be replaced by what was made from it, and by another file, while its model is in use", async () => {
    const { path, model } = await stored("b.onnx");
    const injected = await inject(model, { penalties: [som()], batch: 2 });
    await writeModel(injected, path, { force: true });
    expect(equalBytes(await readFile(path), await injectedBytes())).toBe(true);
    await writeFile(join(folder, "other"), "another");
    await rename(join(folder, "other"), path);
    expect(equalBytes(model.bytes, bytes)).toBe(true);
    await writeModel(injected, join(folder, "b-again.onnx"));
    expect(equalBytes(await readFile(join(folder, "b-again.onnx")), await injectedBytes())).toBe(true);
  });

  it("is read no more once it has changed", async () => {
    const { path, model } = await stored("c.onnx");
    await utimes(path, 1, 1);
    expect(() => model.bytes).toThrow(`"${path}" was changed after it was opened; read the model again`);
    await expect(writeModel(model, join(folder, "d.onnx"))).rejects.toThrow(
      /was changed after it was opened/,
    );
    expect(await readdir(folder)).not.toContain("d.onnx");
  });

  it("that is damaged is refused", async () => {
    const path = join(folder, "e.onnx");
    await writeFile(path, bytes.subarray(0, bytes.length - 1000));
    await expect(readModelInParts(path, 0)).rejects.toThrow(/not an ONNX model, or a truncated one/);
  });
});

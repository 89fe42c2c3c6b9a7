import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Builder } from "flatbuffers";
import { describe, expect, it } from "vitest";
import { decodeCheckpoint, encodeCheckpoint, type OrtCheckpoint } from "../../src/artifacts/checkpoint.ts";
import { readCheckpoint, SorthError, Tensor, writeCheckpoint } from "../../src/index.ts";
import { Lcg } from "../helpers/lcg.ts";
import { OfficialSession } from "../helpers/official-runtime.ts";
import { officialFile, officialPath } from "./official-fixtures.ts";

const plain = ({ name, type, dims, data }: Tensor) => ({
  name,
  type,
  dims,
  data: Array.from(data as Float32Array),
});

const plainCheckpoint = ({ parameters, frozen, optimizer, properties }: OrtCheckpoint) => ({
  parameters: parameters.map(plain),
  frozen: frozen.map(plain),
  optimizer: optimizer && {
    ...optimizer,
    momentums: [...optimizer.momentums].map(([name, slots]) => [name, [...slots.values()].map(plain)]),
  },
  properties,
});

describe("a checkpoint", () => {
  it("of official Python is read", () => {
    const { parameters, frozen, optimizer, properties } = decodeCheckpoint(officialFile("cnn/checkpoint-10"));
    expect(parameters.map(({ name, dims }) => [name, dims])).toContainEqual(["c1.weight", [6, 3, 3, 3]]);
    expect(frozen.map(({ name }) => name).sort()).toEqual([
      "b1.running_mean",
      "b1.running_var",
      "b2.running_mean",
      "b2.running_var",
    ]);
    expect(optimizer?.step).toBe(10);
    expect(optimizer?.learningRate).toBeCloseTo(1e-3);
    expect([...(optimizer?.momentums.get("c1.weight")?.keys() ?? [])]).toEqual(["momentum0", "momentum1"]);
    expect(optimizer?.momentums.size).toBe(parameters.length);
    expect(properties).toEqual(
      new Map<string, unknown>([
        ["epoch", 3n],
        ["best", 0.5],
        ["note", "half way"],
      ]),
    );
  });

  it("is the same when read, written and read again", () => {
    for (const file of [
      "mlp/checkpoint",
      "mlp/checkpoint-10",
      "cnn/checkpoint-10",
      "frozen-first/checkpoint",
    ]) {
      const before = decodeCheckpoint(officialFile(file));
      const after = decodeCheckpoint(encodeCheckpoint(before));
      expect(plainCheckpoint(after)).toEqual(plainCheckpoint(before));
    }
  });

  it("that was written here loads in ONNX Runtime's own session with the same parameters", async () => {
    const parametersOf = async (checkpointState: Uint8Array) => {
      const session = await OfficialSession.create({
        checkpointState,
        trainModel: officialFile("residual/training_model.onnx"),
        optimizerModel: officialFile("residual/optimizer_model.onnx"),
      });
      const parameters = await session.parameters({ trainableOnly: false });
      await session.release();
      return parameters;
    };
    const official = officialFile("residual/checkpoint-10");
    const own = await parametersOf(encodeCheckpoint(decodeCheckpoint(official)));
    expect(own.length).toBeGreaterThan(500);
    expect(own).toEqual(await parametersOf(official));
  });

  it("keeps names, entries and types of every kind", () => {
    const checkpoint: OrtCheckpoint = {
      parameters: [Tensor.of("größe/0:µ", "double", [2], Float64Array.of(1, -2)), Tensor.float("", [], [3])],
      frozen: [Tensor.int64("counts", [0], [])],
      optimizer: { step: 2 ** 40, learningRate: 0.25, momentums: new Map() },
      properties: new Map<string, bigint | number | string>([
        ["a", -(2n ** 60n)],
        ["b", "ü"],
        ["c", 0],
        ["d", ""],
      ]),
    };
    expect(plainCheckpoint(decodeCheckpoint(encodeCheckpoint(checkpoint)))).toEqual(
      plainCheckpoint(checkpoint),
    );
  });

  it("is a file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sorth-checkpoint-"));
    const path = join(folder, "checkpoint");
    const checkpoint = await readCheckpoint(officialPath("mlp/checkpoint"));
    await writeCheckpoint(path, checkpoint);
    expect(Buffer.compare(await readFile(path), encodeCheckpoint(checkpoint))).toBe(0);
    await expect(writeCheckpoint(path, checkpoint)).rejects.toThrow(/already exists/);
    await expect(readCheckpoint(join(folder, "none"))).rejects.toThrow(
      /cannot read the checkpoint ".*none": no such file/,
    );
    await rm(folder, { recursive: true });
  });

  it("with two tensors of a name, or state of no parameter, is not written", () => {
    const weight = Tensor.float("w", [1], [1]);
    const base = { parameters: [weight], frozen: [], properties: new Map() };
    expect(() => encodeCheckpoint({ ...base, frozen: [weight] })).toThrow(/would hold "w" twice/);
    const optimizer = { step: 1, learningRate: 1, momentums: new Map([["v", new Map()]]) };
    expect(() => encodeCheckpoint({ ...base, optimizer })).toThrow(/state of "v" belongs to no parameter/);
    const halfway = { step: 0.5, learningRate: 1, momentums: new Map() };
    expect(() => encodeCheckpoint({ ...base, optimizer: halfway })).toThrow(
      /step is 0.5; it must be a whole/,
    );
  });
});

describe("damaged checkpoints", () => {
  const whole = officialFile("mlp/checkpoint-10");

  /** Reads everything there is; what is refused, is refused with a SorthError that names the file. */
  function survives(bytes: Uint8Array): "read" | "refused" {
    try {
      plainCheckpoint(decodeCheckpoint(bytes, "file.ckpt"));
      return "read";
    } catch (error) {
      expect(error).toBeInstanceOf(SorthError);
      expect((error as Error).message).toContain("file.ckpt");
      return "refused";
    }
  }

  it("cut off anywhere are refused", () => {
    for (let length = 0; length < whole.length - 8; length += 7) {
      expect(survives(whole.slice(0, length)), `${length} bytes`).toBe("refused");
    }
  });

  it("with other bytes end in a clear error or are read, at once", () => {
    const random = new Lcg("checkpoint fuzz");
    let refused = 0;
    for (let trial = 0; trial < 3000; trial++) {
      const bytes = whole.slice();
      for (let change = 0; change < 1 + (trial % 4); change++) {
        const at = Math.floor(random.next() * Math.min(bytes.length, trial % 2 ? 600 : bytes.length));
        bytes[at] = Math.floor(random.next() * 256);
      }
      if (survives(bytes) === "refused") refused++;
    }
    expect(refused).toBeGreaterThan(100);
  });

  it("whose offsets all lead to one place do not unfold", () => {
    const count = 20_000;
    const b = new Builder();
    b.startVector(8, count, 8);
    for (let i = 0; i < count; i++) b.addInt64(1n);
    const dims = b.endVector();
    const data = b.createByteVector(new Uint8Array(4));
    b.startObject(7);
    b.addFieldOffset(2, dims, 0);
    b.addFieldInt32(3, 1, 0);
    b.addFieldOffset(4, data, 0);
    const tensor = b.endObject();
    b.startVector(4, count, 4);
    for (let i = 0; i < count; i++) b.addOffset(tensor);
    const parameters = b.endVector();
    b.startObject(4);
    b.addFieldOffset(0, parameters, 0);
    const module = b.endObject();
    b.startObject(4);
    b.addFieldInt32(0, 2, 0);
    b.addFieldOffset(1, module, 0);
    b.finish(b.endObject(), "ODTC");
    expect(() => decodeCheckpoint(b.asUint8Array(), "file.ckpt")).toThrow(
      /file\.ckpt is a damaged checkpoint \(its parts overlap\)/,
    );
  });

  it("that are other files are refused", () => {
    expect(() => decodeCheckpoint(officialFile("mlp/training_model.onnx"), "m.onnx")).toThrow(
      /m.onnx is not a checkpoint of ONNX Runtime's training API/,
    );
  });
});

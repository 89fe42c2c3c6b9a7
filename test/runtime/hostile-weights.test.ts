import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  type Adapter,
  adapterOf,
  addAdapters,
  exportCheckpoint,
  graphOf,
  Model,
  meanSquaredError,
  mergeAdapters,
  Trainer,
  unmerge,
} from "../../src/index.ts";
import { numberToBfloat16, numberToFloat16 } from "../../src/onnx/small-types.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

// docs/numbers.md: `merge` and `export` write no NaN or Infinity that was not there before.

const [inputs, units] = [3, 2];

/** x → Gemm, with a weight of some type. */
function network(type: "float" | "float16" | "bfloat16", weight = 1): Model {
  const b = new GraphBuilder(18);
  const numbers = Array.from({ length: inputs * units }, () => weight);
  const bits = type === "float16" ? numberToFloat16 : numberToBfloat16;
  const tensor =
    type === "float"
      ? Tensor.float("w", [units, inputs], numbers)
      : Tensor.of("w", type, [units, inputs], Uint16Array.from(numbers, bits));
  // ONNX Runtime has no Gemm of bfloat16 on the CPU.
  const stored = b.graph.addInitializer(tensor);
  const read = type === "bfloat16" ? b.op("Cast", [stored], "w32", { to: 1 }) : stored;
  const x = b.graph.addInput("x", type === "float16" ? type : "float", undefined, ["batch", inputs]);
  b.output(b.op("Gemm", [x, read], "y", { transB: 1 }));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

describe("merge", () => {
  /** An adapter of rank 1 that adds about `change` to every weight. */
  async function adapter(model: Model, change: number): Promise<Adapter> {
    const own = await adapterOf(await addAdapters(model, { rank: 1, alpha: 1, include: /./ }));
    const filled = ({ name, dims, size }: Tensor, value: number) =>
      Tensor.float(name, dims, new Float32Array(size).fill(value));
    const layers = own.layers.map((layer) =>
      "factors" in layer ? layer : { ...layer, down: filled(layer.down, 1), up: filled(layer.up, change) },
    );
    return { ...own, layers };
  }

  test.each([
    ["float16", 1, 70_000, /merged, "w" would hold Infinity at \[0, 0\], more than its type \(float16\)/],
    ["float16", 1, -70_000, /would hold -Infinity at \[0, 0\]/],
    ["bfloat16", 3e38, 3e38, /would hold Infinity at \[0, 0\], more than its type \(bfloat16\)/],
    [
      "float",
      3e38,
      3e38,
      /more than its type \(float\) does: convert the model to float32, or merge a smaller/,
    ],
    ["float", 1, Number.NaN, /"w" would hold NaN at \[0, 0\]: the adapter holds NaN or Infinity/],
    ["float16", 1, Number.NaN, /would hold NaN/],
    ["float", 1, Number.POSITIVE_INFINITY, /would hold (NaN|Infinity)/],
  ] as const)("%s weights of %d and an adapter of %d are refused", async (type, weight, change, says) => {
    const model = network(type, weight);
    const given = await adapter(model, change);
    await expect(mergeAdapters(model, given)).rejects.toThrow(says);
  });

  test("numbers that fit are merged, and taken out again", async () => {
    for (const type of ["float", "float16"] as const) {
      const model = network(type);
      const given = await adapter(model, 1000);
      const merged = await mergeAdapters(model, given);
      expect(Math.max(...weightOf(merged).numbers())).toBe(1001);
      expect(weightOf(await unmerge(merged, given)).numbers()).toEqual(weightOf(model).numbers());
    }
  });
});

const weightOf = (model: Model): Tensor => graphOf(model).valueNamed("w").initializer as Tensor;

describe("checkpoints", () => {
  let folder: ReturnType<typeof temporaryFolder>;
  beforeAll(() => {
    folder = temporaryFolder();
  });
  afterAll(() => folder.remove());

  test("with NaN are neither resumed nor exported; a weight beyond float16 is not exported", async () => {
    const create = (model: Model) =>
      Trainer.create(model, { objective: meanSquaredError(), batch: 2, threads: 1 });
    const trainer = await create(network("float"));
    const w = (value: number) => Tensor.float("w", [units, inputs], new Float32Array(6).fill(value));
    trainer.takeOver({ parameters: new Map([["w", w(Number.NaN)]]) });
    expect(() => trainer.export()).toThrow(/the weight "w" holds NaN at \[0, 0\]: go back to a checkpoint/);
    await expect(trainer.save(folder.path)).rejects.toThrow(
      /"w" holds NaN at \[0, 0\]: this state is not saved/,
    );
    trainer.takeOver({ parameters: new Map([["w", w(1)]]) });
    await trainer.save(folder.path);
    await trainer.release();
    // As an older version may have saved it.
    const path = join(folder.path, "last.safetensors");
    const bytes = readFileSync(path);
    const ones = Buffer.from(new Float32Array(6).fill(1).buffer);
    Buffer.from(new Float32Array(6).fill(Number.NaN).buffer).copy(bytes, bytes.indexOf(ones));
    writeFileSync(path, bytes);
    const says = /last.safetensors: "w" holds NaN at \[0, 0\]: nothing can be computed with it; take another/;
    await expect(Trainer.resume(folder.path)).rejects.toThrow(says);
    await expect(exportCheckpoint(folder.path)).rejects.toThrow(says);
    const half = await create(network("float16"));
    half.takeOver({ parameters: new Map([["w", w(70_000)]]) });
    expect(() => half.export()).toThrow(/"w" has grown to 70000, more than its type .* \(float16\)/);
    await half.release();
  });
});

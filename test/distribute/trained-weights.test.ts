import { expect, test } from "vitest";
import { withoutConversion } from "../../src/data/conversion.ts";
import { exportTemplate } from "../../src/distribute/export-template.ts";
import {
  arrayDataset,
  type LoraOptions,
  Model,
  meanSquaredError,
  recoverBatchNorm,
  Tensor,
  Trainer,
} from "../../src/index.ts";
import { onnx } from "../../src/onnx/schema.js";
import { numberToFloat16 } from "../../src/onnx/small-types.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { builtModel, GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";

const matrices = (b: GraphBuilder) => {
  const h = b.op("Gemm", [b.input("x", ["batch", 4]), b.weight("a", [5, 4]), b.weight("a.bias", [5])], "h", {
    ...{ transB: 1, alpha: { kind: "float", value: 0.3 } as const },
  });
  const w = b.op("Transpose", [b.op("Reshape", [b.weight("b", [30]), b.int64("s", [6, 5])], "b6")], "bt", {
    perm: [1, 0],
  });
  const k = b.op("Add", [b.op("MatMul", [b.op("Relu", [h], "r"), w], "p"), b.weight("b.bias", [6])], "k");
  b.output(b.op("Gemm", [b.op("Tanh", [k], "t"), b.weight("c", [6, 3])], "y"));
};

const convolutions = (b: GraphBuilder) => {
  const x = b.input("x", ["batch", 4, 6, 6]);
  const h = b.op("Conv", [x, b.weight("a", [6, 4, 3, 3]), b.weight("a.bias", [6])], "h", {
    pads: [1, 1, 1, 1],
  });
  const k = b.op("ConvTranspose", [b.op("Relu", [h], "r"), b.weight("b", [6, 2, 2, 2])], "k", {
    ...{ group: 2, strides: [2, 2] },
  });
  const z = b.op("Conv", [k, b.weight("c", [4, 4, 1, 1])], "z");
  b.output(b.op("Flatten", [b.op("GlobalAveragePool", [z], "q")], "y"));
};

const grouped = (b: GraphBuilder) => {
  const x = b.input("x", ["batch", 4, 6, 6]);
  const h = b.op("Conv", [x, b.weight("a", [6, 2, 3, 3]), b.weight("a.bias", [6])], "h", { group: 2 });
  const k = b.op("ConvTranspose", [b.op("Relu", [h], "r"), b.weight("b", [6, 2, 2, 2])], "k", { group: 2 });
  b.output(b.op("Flatten", [b.op("GlobalAveragePool", [k], "q")], "y"));
};

/** An embedding in half precision whose table is the head's weight too. */
const halves = (b: GraphBuilder) => {
  const bits = Uint16Array.from({ length: 20 }, (_, i) => 0x3000 + 97 * i);
  const table = b.op("Cast", [b.graph.addInitializer(Tensor.of("table", "float16", [5, 4], bits))], "wide", {
    to: 1,
  });
  const h = b.op("Gather", [table, b.input("x", ["batch", 3], "int64")], "h");
  const y = b.op("MatMul", [h, b.op("Transpose", [table], "t", { perm: [1, 0] })], "y3");
  b.output(b.op("ReduceMean", [y], "y", { axes: [1], keepdims: 0 }));
};

/** An embedding whose transposed copy is the head's weight. */
const copies = (b: GraphBuilder) => {
  const numbers = randomFloats("table", 20);
  const e = b.graph.addInitializer(Tensor.float("tok.weight", [5, 4], numbers));
  const rows = b.op("Gather", [e, b.input("x", ["batch", 3], "int64")], "rows");
  const turned = Array.from({ length: 20 }, (_, i) => numbers[(i % 5) * 4 + Math.floor(i / 5)] ?? 0);
  const w = b.graph.addInitializer(Tensor.float("onnx::MatMul_13", [4, 5], turned));
  b.output(
    b.op("ReduceMean", [b.op("MatMul", [b.op("Tanh", [rows], "t"), w], "s")], "y", {
      axes: [1],
      keepdims: 0,
    }),
  );
};

/** A table of two axes, also stored with one of its rows for each of two samples. */
const repeated = (b: GraphBuilder) => {
  const numbers = randomFloats("queries", 20);
  const table = b.graph.addInitializer(Tensor.float("q.weight", [5, 4], numbers));
  const rows = Array.from({ length: 5 }, (_, i) => numbers.slice(4 * i, 4 * i + 4)).flatMap((row) => [
    ...row,
    ...row,
  ]);
  const folded = b.graph.addInitializer(Tensor.float("repeat", [5, 2, 4], rows));
  folded.metadata = new Map([["pkg.onnxscript.optimizer.folded_from", "['q.weight', 'unsqueeze_1']"]]);
  const read = b.op("Gather", [table, b.input("x", [2, 5], "int64")], "read");
  const sum = b.op("Add", [b.op("Transpose", [read], "t", { perm: [1, 0, 2] }), folded], "sum");
  b.output(b.op("ReduceMean", [b.op("Tanh", [sum], "bent")], "y", { axes: [0], keepdims: 0 }));
};

const scaled = (b: GraphBuilder) => {
  const x = b.input("x", ["batch", 4, 5, 5]);
  const h = b.op("Conv", [x, b.weight("a", [6, 2, 3, 3]), b.weight("a.bias", [6])], "h", { group: 2 });
  const inputs = [b.op("Relu", [h], "r"), b.weight("b", [6, 2, 2, 2]), b.weight("b.bias", [4])];
  const k = b.op("ConvTranspose", inputs, "k", { group: 2 });
  const flat = b.op("Flatten", [b.op("GlobalAveragePool", [b.op("Relu", [k], "r2")], "q")], "f");
  const factors = { alpha: { kind: "float", value: 0.5 }, beta: { kind: "float", value: 2 } } as const;
  const m = b.op("Gemm", [flat, b.weight("c", [5, 4]), b.weight("c.bias", [5])], "m", {
    transB: 1,
    ...factors,
  });
  b.output(b.op("Gemm", [b.op("Relu", [m], "r3"), b.weight("d", [5, 3])], "y"));
};

/** The model with what an exporter notes of its values. */
function withNotes({ proto }: Model, { graph }: GraphBuilder): Model {
  const notes = graph.initializers.filter(({ metadata }) => metadata.size > 0);
  const infos = notes.map(({ name, metadata }) => {
    const metadataProps = [...metadata].map(([key, value]) => ({ key, value }));
    return new onnx.ValueInfoProto({ name, metadataProps });
  });
  proto.graph?.valueInfo?.push(...infos);
  return Model.fromProto(proto);
}

const images = arrayDataset(
  Float32Array.from(randomFloats("data", 2400), (x) => 2 * x + 0.5),
  Int32Array.from({ length: 24 }, (_, i) => i % 3),
  [4, 5, 5],
);

interface Case {
  readonly build: (b: GraphBuilder) => void;
  readonly lora?: LoraOptions;
  readonly recover?: true;
  /** The tensors that graphs compute. */
  readonly computed: readonly string[];
}

const cases: Readonly<Record<string, Case>> = {
  "LoRA and a head beside matrices": {
    build: matrices,
    lora: { rank: 3, alpha: 5, scaling: "rslora", trainHead: true },
    computed: ["a", "b"],
  },
  "DoRA beside matrices": { build: matrices, lora: { rank: 2, dora: true }, computed: ["a", "b"] },
  "IA³ of results and inputs": {
    ...{ build: matrices, lora: { ia3: true, feedforward: /^p$/ } },
    computed: ["a", "a.bias", "b"],
  },
  "LoRA beside convolutions": {
    build: convolutions,
    lora: { rank: 2, include: /^[hkz]$/ },
    computed: ["a", "b", "c"],
  },
  "DoRA beside convolutions": {
    build: convolutions,
    lora: { rank: 2, dora: true, include: /^[hz]$/ },
    computed: ["a", "c"],
  },
  "IA³ beside convolutions in groups": {
    ...{ build: grouped, lora: { ia3: true, include: /^[hk]$/, feedforward: /^k$/ } },
    computed: ["a", "a.bias", "b"],
  },
  "LoRA beside one of two readers of a float16 table": {
    ...{ build: halves, lora: { rank: 2, include: /^h$/ } },
    computed: ["table.merged"],
  },
  "LoRA beside both readers": {
    build: halves,
    lora: { rank: 2, include: /^h$|^y3$/ },
    computed: ["table", "table.merged"],
  },
  "a transposed copy": { build: copies, computed: ["onnx::MatMul_13"] },
  "a table that is repeated for every sample": { build: repeated, computed: ["repeat"] },
  "a recovered BatchNorm": {
    build: scaled,
    recover: true,
    computed: ["a", "a.bias", "b", "b.bias", "c", "c.bias"],
  },
};

test.each(Object.entries(cases))(
  "%s: the trained model, bit for bit",
  async (_, { build, lora, recover, computed }) => {
    const b = new GraphBuilder(17);
    build(b);
    const built = withNotes(builtModel(b), b);
    const model = recover ? await recoverBatchNorm(built, images, { batch: 8, include: /^[hkm]$/ }) : built;
    const trainer = await Trainer.create(model, {
      objective: meanSquaredError(),
      batch: 2,
      ...(lora && { lora }),
    });
    const template = await exportTemplate(trainer);
    const found = template.weights?.flatMap(({ name, from }) => (from && "graph" in from ? [name] : []));
    expect(found?.sort()).toEqual([...computed].sort());

    // As after a training.
    const { parameters, statistics } = trainer.state();
    const moved = (tensors: ReadonlyMap<string, Tensor>) =>
      new Map(
        [...tensors].map(([name, { type, dims, size }]) => {
          const numbers = randomFloats(`${name} trained`, size).map((number) => Math.abs(number) + 0.01);
          return [name, Tensor.of(name, type, dims, Float32Array.from(numbers))] as const;
        }),
      );
    trainer.takeOver({ parameters: moved(parameters), statistics: moved(statistics) });
    const state = new Map([...trainer.state().parameters, ...trainer.state().statistics]);
    const made = template.model.bytes.slice();
    for (const weight of template.weights ?? []) {
      const { offset, length, type, from } = weight;
      let numbers: readonly number[] = [];
      if (from && "state" in from) numbers = state.get(weight.name)?.numbers() ?? [];
      if (from && "graph" in from) {
        const { model: graph, reads } = from.graph;
        const before = made.slice(offset, offset + length);
        const feeds = (graph.proto.graph?.input ?? []).map((input) => {
          const name = input.name ?? "";
          const read = reads[name];
          const dims = shapeOf(graph, name);
          const fed =
            read && "state" in read
              ? (state.get(read.state) as Tensor).named(name)
              : Tensor.float(
                  name,
                  dims,
                  Tensor.of(name, type as "float", dims, dataOf(type, before)).numbers(),
                );
          return [name, fed] as const;
        });
        const results = await nodeProbe.run(graph, new Map(feeds), { optimize: false });
        numbers = [...results.values()][0]?.numbers() ?? [];
      }
      const bits =
        type === "float16" ? Uint16Array.from(numbers, numberToFloat16) : Float32Array.from(numbers);
      made.set(new Uint8Array(bits.buffer), offset);
    }
    const exported = withoutConversion(trainer.export()).bytes;
    expect(made.length).toBe(exported.length);
    expect(made.findIndex((byte, i) => byte !== exported[i])).toBe(-1);
    await trainer.release();
  },
);

const shapeOf = (graph: Model, name: string): number[] =>
  (graph.proto.graph?.input?.find((input) => input.name === name)?.type?.tensorType?.shape?.dim ?? []).map(
    ({ dimValue }) => Number(dimValue),
  );

const dataOf = (type: string, bytes: Uint8Array) =>
  type === "float16" ? new Uint16Array(bytes.buffer) : new Float32Array(bytes.buffer);

import { describe, expect, test } from "vitest";
import { singularVectors } from "../../src/adapters/singular-vectors.ts";
import type { Site } from "../../src/analysis/site-types.ts";
import { rules } from "../../src/autodiff/table.ts";
import { backward } from "../../src/autodiff/walk.ts";
import { Emit } from "../../src/graph/emit.ts";
import { Graph } from "../../src/graph/graph.ts";
import { Node, type Value } from "../../src/graph/node.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { appliesTo } from "../../src/penalties/applies.ts";
import { buildPenalties } from "../../src/penalties/build.ts";
import type { Matrix, PlainLayer } from "../../src/penalties/plain-layer.ts";
import { resolvePlans } from "../../src/penalties/plan.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import { uniform } from "../helpers/lcg.ts";
import { runModel } from "../helpers/run-model.ts";
import { fixture } from "../oracles/references.ts";

// scripts/oracles/adapter_penalties.py
interface Recorded {
  readonly value: number;
  readonly down: readonly number[];
  readonly up: readonly number[];
}
const record = fixture<Record<string, Recorded>>("adapter-penalties.json");

const [rank, inputs, units, scaling] = [3, 6, 5, 1.5];
const [down, up] = [uniform("down", rank * inputs), uniform("up", units * rank)];
const base = Float64Array.from(uniform("base", units * inputs));
const { left, right } = singularVectors(base, units, inputs, 2);
const frozen: Readonly<Record<string, Tensor>> = {
  previous: double("previous", [4, inputs], uniform("earlier", 4 * inputs)),
  left: double("left", [2, units], left),
  right: double("right", [2, inputs], right),
};

function double(name: string, shape: readonly number[], numbers: ArrayLike<number>): Tensor {
  return Tensor.of(name, "double", shape, Float64Array.from(numbers));
}

function rowsOf(tensor: Tensor): Matrix {
  const [rows = 0, columns = 0] = tensor.dims;
  const numbers = [...tensor.numbers()].map(Number);
  return Array.from({ length: rows }, (_, i) => numbers.slice(i * columns, (i + 1) * columns));
}

/** The graph of a penalty on x·Aᵀ·Bᵀ, with A [rank, inputs] and B [units, rank] as inputs. */
async function run(text: string, type: "float" | "double", closed: boolean) {
  const graph = new Graph("layer", new Map([["", 18]]));
  const weight = graph.addInput("a", type, [rank, inputs]);
  const b = graph.addInput("b", type, [units, rank]);
  const { plans } = resolvePlans([parsePlan(text)]);
  const options = plans[0]?.penalty.options ?? {};
  const response = graph.addInput("y", type, [2, rank]);
  const site: Site = {
    ...{ name: "layer", names: ["layer"], op: "Gemm", response, weight, weightInput: 1, bias: undefined },
    node: new Node({ opType: "Gemm", outputs: [response], inputs: [null, weight, null] }),
    ...{ units: rank, fanIn: inputs, groups: 1, unitAxis: 1, rows: 2, rowsFixed: true, freeAxes: [] },
    ...{ quantized: false, adapter: { up: b, scaling, frozen: new Map([[options, ofType(type)]]) } },
  };
  const g = new Emit(graph, { prefix: "sorth/", constants: "initializers" });
  const [part] = buildPenalties(g, plans, [site], { tell: () => {} });
  if (!part) throw new Error("the penalty does not take the layer");
  graph.addOutput(part.value);
  const slopes = closed
    ? (part.slopes ?? []).map(({ of, gradient }) => ({ value: of, gradient: () => gradient() }))
    : [{ value: part.value, gradient: () => g.scalar(1, part.value.type) }];
  const gradients = backward(graph, { wrt: [weight, b], seeds: slopes, rules, emit: g });
  for (const gradient of new Set(gradients.values())) graph.addOutput(gradient);
  graph.removeInput(response);
  graph.prune();
  const number = (name: string, shape: readonly number[], data: Float32Array) =>
    type === "double" ? double(name, shape, data) : Tensor.float(name, shape, data);
  const feeds = { a: number("a", [rank, inputs], down), b: number("b", [units, rank], up) };
  const used = Object.fromEntries(
    Object.entries(feeds).filter(([name]) => (graph.value(name)?.uses.size ?? 0) > 0),
  );
  for (const input of [...graph.inputs]) if (!used[input.name]) graph.removeInput(input);
  const outputs = await runModel(graph, used);
  const read = (value: Value | undefined, size: number) =>
    value ? [...(outputs[value.name] as Tensor).numbers()].map(Number) : Array<number>(size).fill(0);
  return {
    value: Number((outputs[part.value.name] as Tensor).numbers()[0]),
    down: read(gradients.get(weight), rank * inputs),
    up: read(gradients.get(b), units * rank),
  };
}

const ofType = (type: "float" | "double"): Readonly<Record<string, Tensor>> =>
  type === "double"
    ? frozen
    : Object.fromEntries(
        Object.entries(frozen).map(([name, tensor]) => [
          name,
          Tensor.float(name, tensor.dims, Float32Array.from(tensor.numbers(), Number)),
        ]),
      );

function error(actual: Recorded, expected: Recorded): number {
  const numbers = ({ value, down, up }: Recorded) => [value, ...down, ...up];
  const wanted = numbers(expected);
  const largest = Math.max(...wanted.map(Math.abs));
  return Math.max(...numbers(actual).map((x, i) => Math.abs(x - (wanted[i] ?? Number.NaN)))) / largest;
}

describe.each(Object.keys(record))("%s", (text) => {
  const expected = record[text] as Recorded;

  test("has PyTorch's value and gradients: in plain numbers, in closed form, and by the rules of its operators", async () => {
    const { penalty } = parsePlan(text);
    const layer = {
      adapter: {
        ...{ down: rowsOf(double("", [rank, inputs], down)), up: rowsOf(double("", [units, rank], up)) },
        scaling,
        frozen: Object.fromEntries(Object.entries(frozen).map(([name, tensor]) => [name, rowsOf(tensor)])),
      },
    } as unknown as PlainLayer;
    const plain = penalty.definition.reference?.(layer, penalty.options);
    const none = Array.from({ length: units }, () => Array<number>(rank).fill(0));
    const reference = {
      value: plain?.value ?? Number.NaN,
      down: (plain?.gradient.weights ?? []).flat(),
      up: (plain?.gradient.up ?? none).flat(),
    };
    expect(error(reference, expected)).toBeLessThan(1e-12);
    for (const closed of [true, false]) {
      expect(error(await run(text, "double", closed), expected)).toBeLessThan(1e-12);
      expect(error(await run(text, "float", closed), expected)).toBeLessThan(2e-6);
    }
  });

  test("refuses layers without an adapter", () => {
    const site = { units: 4, groups: 1, op: "Gemm", weightInput: 1 } as Site;
    const weight = new Graph("layer", new Map([["", 18]])).addInput("w", "float", [4, 3]);
    const node = new Node({ opType: "Gemm", inputs: [null, weight, null], outputs: [] });
    expect(appliesTo(parsePlan(text).penalty, { ...site, node, weight })).toMatch(/acts on adapters/);
  });
});

test("singular vectors: orthonormal, and those of the matrix, of any shape and rank", () => {
  for (const [rows, columns, count] of [
    [7, 4, 4],
    [3, 30, 2],
    [40, 40, 5],
  ] as const) {
    const matrix = Float64Array.from(uniform(`matrix ${rows}`, rows * columns));
    const found = singularVectors(matrix, rows, columns, count);
    const [u, v] = [
      rowsOf(double("", [count, rows], found.left)),
      rowsOf(double("", [count, columns], found.right)),
    ];
    const w = rowsOf(double("", [rows, columns], matrix));
    const dot = (a: readonly number[], b: readonly number[]) =>
      a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);
    let before = Number.POSITIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const wv = w.map((row) => dot(row, v[i] ?? []));
      const sigma = Math.sqrt(dot(wv, wv));
      expect(sigma).toBeLessThanOrEqual(before * (1 + 1e-9));
      before = sigma;
      for (let j = 0; j < count; j++) {
        expect(Math.abs(dot(u[i] ?? [], u[j] ?? []) - (i === j ? 1 : 0))).toBeLessThan(1e-10);
        expect(Math.abs(dot(v[i] ?? [], v[j] ?? []) - (i === j ? 1 : 0))).toBeLessThan(1e-10);
      }
      // W·v = σ·u and Wᵀ·u = σ·v
      for (const [k, x] of wv.entries())
        expect(Math.abs(x - sigma * (u[i]?.[k] ?? 0))).toBeLessThan(1e-5 * sigma);
    }
  }
});

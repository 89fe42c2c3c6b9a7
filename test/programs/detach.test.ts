import { describe, expect, test } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  buildStep,
  crossEntropy,
  differentiate,
  Model,
  Tensor,
  Trainer,
} from "../../src/index.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { maxAbs, maxDifference, randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

// `y.detach()` in PyTorch: the value as it is, the gradient 0. In float64 by hand: a derivative with that value held fixed.

const [rows, width] = [4, 3];
const x = Tensor.float("x", [rows, width], randomFloats("detach x", rows * width));
const numbers = (name: string) => randomFloats(name, width * width);

/** Two branches from one encoder, as in SimSiam: the loss is −Σ p·z, z the encoder's result, p = Sigmoid(z·w2)·w3. */
function twoBranches(hidden: (b: GraphBuilder, z: Value) => Value = (_, z) => z): Model {
  const b = new GraphBuilder(18);
  const z = b.op("MatMul", [b.input("x", [rows, width]), weight(b, "w1")], "z");
  // A SiLU, which rewrites for gradients would make one operator of: the value inside must stay.
  const inside = b.op("MatMul", [z, weight(b, "w2")], "inside");
  const gate = b.op("Sigmoid", [inside], "gate");
  const p = b.op("MatMul", [b.op("Mul", [inside, gate], "silu"), weight(b, "w3")], "p");
  const product = b.op("Mul", [p, hidden(b, z)], "product");
  b.output(b.op("Neg", [b.op("ReduceSum", [product], "sum", { keepdims: 0 })], "loss"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

const weight = (b: GraphBuilder, name: string) =>
  b.graph.addInitializer(Tensor.float(name, [width, width], numbers(name)));

const product = (a: readonly number[], b: readonly number[]): number[] =>
  Array.from({ length: a.length }, (_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    return [0, 1, 2].reduce((sum, k) => sum + (a[row * width + k] ?? 0) * (b[k * width + column] ?? 0), 0);
  });

type Held = "target" | "gate" | undefined;

/** The loss in float64, for weights in one list; `held` takes the target or the gate from other weights. */
function lossOf(weights: readonly number[], held: Held, fixed: readonly number[]): number {
  const parts = (list: readonly number[]) => [0, 9, 18].map((at) => list.slice(at, at + 9));
  const values = (list: readonly number[]) => {
    const [w1 = [], w2 = []] = parts(list);
    const z = product(x.numbers(), w1);
    const inside = product(z, w2);
    return { z, inside, gate: inside.map((one) => 1 / (1 + Math.exp(-one))) };
  };
  const [own, other] = [values(weights), values(fixed)];
  const gate = held === "gate" ? other.gate : own.gate;
  const silu = own.inside.map((one, i) => one * (gate[i] ?? 0));
  const p = product(silu, parts(weights)[2] ?? []);
  const target = held === "target" ? other.z : own.z;
  return -p.reduce((sum, one, i) => sum + one * (target[i] ?? 0), 0);
}

function byDifferences(held: Held): number[] {
  const weights = ["w1", "w2", "w3"].flatMap((name) => Array.from(numbers(name)));
  return weights.map((_, i) => {
    const moved = (by: number) => lossOf(weights.with(i, (weights[i] ?? 0) + by), held, weights);
    return (moved(1e-5) - moved(-1e-5)) / 2e-5;
  });
}

async function gradients(model: Model, detach?: RegExp): Promise<number[]> {
  const written = await differentiate(model, { loss: "loss", ...(detach && { detach }) });
  const results = await runModel(written.model.bytes, { x });
  expect(results.loss?.numbers()[0]).toBeCloseTo(
    lossOf(
      ["w1", "w2", "w3"].flatMap((n) => Array.from(numbers(n))),
      undefined,
      [],
    ) || 0,
    4,
  );
  return ["w1", "w2", "w3"].flatMap((name) => [...(results[`${name}_grad`]?.numbers() ?? [])]);
}

describe("gradients stop at a value", () => {
  const target = (b: GraphBuilder, z: Value) => b.op("Identity", [z], "target");

  test.each([
    ["no value", undefined, undefined],
    ["the target of a branch", /^target$/, "target"],
    ["a value inside of an activation", /^gate$/, "gate"],
  ] as const)("%s", async (_, detach, held) => {
    const found = await gradients(twoBranches(target), detach);
    const expected = byDifferences(held);
    expect(maxDifference(found, expected) / maxAbs(expected)).toBeLessThan(1e-5);
  });

  test("the three differ, so that each would be noticed", () => {
    const [none, ofTarget, ofGate] = [undefined, "target", "gate"].map((held) => byDifferences(held as Held));
    expect(maxDifference(none ?? [], ofTarget ?? [])).toBeGreaterThan(0.1);
    expect(maxDifference(none ?? [], ofGate ?? [])).toBeGreaterThan(0.01);
  });

  test("a step trains so too, and says where gradients stop", async () => {
    const said: string[] = [];
    const options = {
      loss: "loss",
      learningRate: 0.1,
      optimizer: (await import("../../src/optimizers/sgd.ts")).sgd(),
    };
    const model = twoBranches(target);
    const trainer = await Trainer.create(model, {
      ...options,
      detach: /^target$/,
      onMessage: (text) => said.push(text),
    });
    const data = arrayDataset(x.data as Float32Array, new Int32Array(rows), [width]);
    for await (const _ of trainer.fit(data, { maxSteps: 1 }));
    const moved = (await trainer.parameters()).flatMap(({ values }) => [...values]);
    await trainer.release();
    const before = ["w1", "w2", "w3"].flatMap((name) => Array.from(numbers(name)));
    const expected = byDifferences("target");
    expect(
      maxDifference(
        moved,
        before.map((one, i) => one - 0.1 * (expected[i] ?? 0)),
      ),
    ).toBeLessThan(1e-5);
    expect(said).toContain("gradients stop at target");
  });
});

test("an evaluation is the same with and without it, at a Dropout too", async () => {
  const b = new GraphBuilder(18);
  const ratio = b.graph.addInitializer(Tensor.float("ratio", [], [0.5]));
  const dropped = b.op(
    "Dropout",
    [b.op("MatMul", [b.input("x", [rows, width]), weight(b, "w1")], "z"), ratio],
    "dropped",
  );
  b.output(b.op("MatMul", [dropped, weight(b, "w2")], "y"));
  const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
  const data = arrayDataset(Float32Array.from(x.numbers()), new Int32Array(rows), [width]);
  const lossWith = async (detach?: RegExp) => {
    const trainer = await Trainer.create(model, { objective: crossEntropy(), ...(detach && { detach }) });
    const { loss } = await trainer.evaluate(data);
    await trainer.release();
    return loss;
  };
  expect(await lossWith(/^dropped$/)).toBe(await lossWith());
});

describe("refused", () => {
  const options = { loss: "loss" };
  test("a pattern that matches nothing, or what no gradient reaches", async () => {
    const model = twoBranches();
    await expect(differentiate(model, { ...options, detach: /nowhere/ })).rejects.toThrow(
      /^no inner value matches \/nowhere\/ \(--detach\)/,
    );
    await expect(buildStep(model, { ...options, detach: /^z$/, trainable: /^w3$/ })).rejects.toThrow(
      '--detach would have no effect: no trained parameter reaches "z"',
    );
  });
});

import { expect, test } from "vitest";
import { forward } from "../../src/autodiff/forward.ts";
import type { Rule } from "../../src/autodiff/rule.ts";
import { rules } from "../../src/autodiff/table.ts";
import { backward } from "../../src/autodiff/walk.ts";
import { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { runOpened } from "../helpers/opened-models.ts";
import {
  arrayOf,
  buildNode,
  bytesOf,
  dot,
  inDouble,
  numbersOf,
  products,
  type RuleCase,
  random,
  randomLike,
  titleOf,
} from "./rule-case.ts";

/**
 * ⟨v, Ju⟩ by forward mode and ⟨Jᵀv, u⟩ by reverse mode, from one graph of a sample, for directions in which one input alone
 * moves: a wrong product for one cannot hide behind large ones of the others.
 */
async function bothModes(testCase: RuleCase) {
  const next = random(7);
  const { graph, wrt, feeds } = buildNode(testCase, next);
  const shapes = await nodeProbe.run(bytesOf(graph), feeds, { optimize: false });
  const outputs = graph.outputs.flatMap((output) => {
    const tensor = shapes.get(output.name);
    output.type = tensor?.type;
    output.shape = tensor?.dims;
    return tensor?.type === testCase.type ? [output as Typed] : [];
  });
  const fed = (values: readonly Typed[], stem: string) =>
    new Map(
      values.map((value) => {
        const input = graph.addInput(graph.freshName(stem), value.type, value.shape) as Typed;
        const numbers = randomLike(input, next);
        feeds.set(input.name, Tensor.of(input.name, input.type, input.shape, arrayOf(input.type, numbers)));
        return [value, { input, numbers }] as const;
      }),
    );
  const tangents = fed(wrt as Typed[], "u");
  const seeds = fed(outputs, "v");
  graph.outputs.length = 0;
  const emit = new Emit(graph, { prefix: "d/" });
  const gradients = backward(graph, {
    ...{ wrt, rules, emit },
    seeds: [...seeds].map(([value, { input }]) => ({ value, gradient: () => input })),
  });
  const pushed = await forward(graph, {
    ...{ emit, outputs: outputs.map((value) => ({ name: value.name, value })) },
    tangents: new Map([...tangents].map(([value, { input }]) => [value, input])),
    backward: (from, to) => backward(graph, { wrt: to, seeds: from, rules, emit }),
  });
  const named = (values: Iterable<readonly [Typed, Typed]>) =>
    new Map([...values].map(([value, result]) => [value, graph.addOutput(emit.identity(result)).name]));
  const [reverse, ahead] = [gradients, pushed].map((map) => named(map as Map<Typed, Typed>));
  graph.prune();
  const model = bytesOf(graph);
  const found: { of: string; forward: number; reverse: number; size: number }[] = [];
  for (const [value, { input, numbers }] of tangents) {
    const still = [...tangents.values()].filter((other) => other.input !== input);
    const alone = still.map(({ input: { name, type, shape } }) =>
      Tensor.of(name, type, shape, arrayOf(type, new Float64Array(elementCount(shape)))),
    );
    const results = await runOpened(
      model,
      new Map([...feeds, ...alone.map((zeros) => [zeros.name, zeros] as const)]),
      { optimize: false },
    );
    const numbersAt = (name: string | undefined) => numbersOf(results.get(name ?? ""));
    const parts = products(numbersAt(reverse?.get(value)), numbers);
    found.push({
      of: value.name,
      forward: [...(ahead ?? [])].reduce(
        (total, [output, name]) => total + dot(numbersAt(name), seeds.get(output)?.numbers ?? []),
        0,
      ),
      reverse: parts.reduce((total, part) => total + part, 0),
      size: parts.reduce((total, part) => total + Math.abs(part), 0),
    });
  }
  return found;
}

const samples = Object.entries(rules)
  .filter((entry): entry is [string, Rule] => "vjp" in entry[1])
  .flatMap(([op, rule]) => {
    const chosen = process.env.ALL_SAMPLES ? rule.samples : [rule.samples[0]];
    return chosen.map((sample) => ({ op, sample }));
  });

/** A share of the whole below which a product is compared with that share, not with its own size. */
const leastShare = 1e-3;

/** ONNX Runtime's kernels for these compute sines in float32, whatever the type. */
const float32Inside = new Set(["DFT", "STFT"]);

// With ALL_SAMPLES=1 on every sample, which takes 20 s of processor time.
test("forward and reverse mode agree on a sample of every rule", { timeout: 900_000 }, async () => {
  const wrong: string[] = [];
  let moving = 0;
  for (const { op, sample } of samples) {
    const at = titleOf(op, sample);
    try {
      const check = (type: "double" | "float") => bothModes({ op, sample, type });
      const double = await inDouble(sample, () => check("double"));
      const found = double ? double.result : await check("float");
      const total = found.reduce((sum, { size }) => sum + size, 0);
      if (total > 0) moving++;
      for (const { of, forward: ahead, reverse, size } of found) {
        const error = Math.abs(ahead - reverse) / (Math.max(size, leastShare * total) || 1);
        if (!(error < (double ? (float32Inside.has(op) ? 1e-7 : 1e-11) : 1e-4)))
          wrong.push(`${at}, ${of}: ⟨v, Ju⟩ = ${ahead}, ⟨Jᵀv, u⟩ = ${reverse}`);
      }
    } catch (error) {
      wrong.push(`${at}: ${error}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(moving).toBeGreaterThan(0.9 * samples.length);
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type ParameterValues,
  type Tensor,
  Trainer,
  type TrainerOptions,
  type TrainerState,
} from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { sgd } from "../../src/optimizers/public.ts";
import { losses, network, plain, train } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-parameters-"));
});
afterAll(() => rm(folder, { recursive: true }));

const created = (own: TrainerOptions = {}) => Trainer.create(network(), { ...plain, ...own });
/** The numbers of tensors: matchers do not look into a Tensor. */
const numbersIn = (tensors: ReadonlyMap<string, Tensor> = new Map()): Record<string, number[]> =>
  Object.fromEntries([...tensors].map(([name, tensor]) => [name, tensor.numbers()]));
const slotsIn = ({ slots }: TrainerState) => [...slots.values()].map(numbersIn);
const bits = (values: Float32Array | Float64Array) => new Uint8Array(values.slice().buffer);

/** A run that has done some steps, and the same model at its beginning. */
async function trained(own: TrainerOptions = {}, steps = 5): Promise<[Trainer, Trainer]> {
  const from = await created(own);
  await losses(from, train, { maxSteps: steps, epochs: 9 });
  return [from, await created(own)];
}

describe("parameters and setParameters", () => {
  test("a list, arrays in its order, named arrays in any order and a vector carry every bit", async () => {
    const [from, to] = await trained({ stepsPerRun: 3 });
    const { parameters, statistics } = from.state();
    const list = await from.parameters();
    expect(list.map(({ name, shape }) => [name, shape])).toEqual(
      [...parameters].map(([name, { dims }]) => [name, dims]),
    );
    for (const { name, values } of list) expect(values).toEqual(parameters.get(name)?.data);
    const vector = await from.parameters({ flat: true });
    expect([...vector]).toEqual(list.flatMap(({ values }) => [...values]));
    expect(vector).toBeInstanceOf(Float32Array);

    const forms = [list, list.map(({ values }) => values), [...list].reverse(), vector, [...vector]];
    const start = await to.parameters({ flat: true });
    const untrained = await to.parameters({ flat: true, statistics: true });
    expect(start).not.toEqual(vector);
    for (const form of forms) {
      await to.setParameters(start);
      await to.setParameters(form);
      expect(bits(await to.parameters({ flat: true }))).toEqual(bits(vector));
      // Statistics were not among the numbers.
      expect(numbersIn(to.state().statistics)).not.toEqual(numbersIn(statistics));
    }
    const [all, flat] = [await from.parameters({ statistics: true }), { flat: true, statistics: true }];
    expect(all.slice(list.length).map(({ name }) => name)).toEqual([...statistics.keys()]);
    for (const form of [all, await from.parameters(flat), all.map(({ values }) => values)]) {
      await to.setParameters(untrained);
      await to.setParameters(form);
      expect(equalBytes(to.export().bytes, from.export().bytes)).toBe(true);
    }
    // They are copies.
    for (const { values } of list) values.fill(7);
    expect(bits(await from.parameters({ flat: true }))).toEqual(bits(vector));
  });

  test("the optimizer's state is kept, or begins again: then the run is that of a new trainer", async () => {
    // Of momentum, Adam's moments and its count of updates, a moving average and the steps of accumulation.
    for (const own of [{ ema: 0.8 }, { optimizer: sgd({ momentum: 0.9 }) }] satisfies TrainerOptions[]) {
      const [from, other] = await trained(own);
      const numbers = await from.parameters({ statistics: true });
      const { updates } = from.state();
      const before = slotsIn(from.state());
      await from.setParameters(await other.parameters());
      expect([slotsIn(from.state()), from.state().updates, from.steps]).toEqual([before, updates, 5]);
      await from.setParameters(numbers, { optimizer: "reset" });
      expect([from.state().updates, from.steps]).toEqual([0, 5]);
      const start = slotsIn(other.state());
      expect(before).not.toEqual(start);
      // A moving average begins with the parameters.
      const expected = start.map((slots, i) => ({
        ...slots,
        ...("ema" in slots && { ema: [...(numbers[i]?.values ?? [])] }),
      }));
      expect(slotsIn(from.state())).toEqual(expected);
    }
  });

  test("in the midst of an epoch, between the steps of one run of ONNX Runtime", async () => {
    const expected: Float32Array[] = [];
    const single = await created({ stepsPerRun: 1 });
    for await (const { event } of single.fit(train)) {
      if (event === "step") expected.push((await single.parameters({ flat: true })) as Float32Array);
    }
    const several = await created({ stepsPerRun: 4 });
    const start = await several.parameters({ flat: true });
    const found: Float32Array[] = [];
    for await (const { event, step } of several.fit(train)) {
      if (event !== "step") continue;
      if (step % 2 === 0) found.push((await several.parameters({ flat: true })) as Float32Array);
    }
    expect(found).toEqual(expected.filter((_, i) => i % 2 === 1));
    // What is set takes effect at the next step, on the parameters of this one.
    const again = await created({ stepsPerRun: 4, optimizer: sgd(), learningRate: 0 });
    for await (const { event, step } of again.fit(train)) {
      if (event === "step" && step === 2) await again.setParameters(start.map((number) => number + 1));
    }
    expect(await again.parameters({ flat: true })).toEqual(start.map((number) => Math.fround(number + 1)));
  });

  test("adapters alone, where only they are trained", async () => {
    const own: TrainerOptions = { lora: { rank: 2 } };
    const [from, to] = await trained(own);
    const list = await from.parameters();
    expect(list.length).toBeGreaterThan(0);
    for (const { name } of list) expect(name).toMatch(/\.lora_[AB]$/);
    await to.setParameters(list);
    expect(equalBytes(to.export().bytes, from.export().bytes)).toBe(true);
  });

  test("what was set is saved, and the run resumes with it bit for bit", async () => {
    const where = join(folder, "run");
    const [from, to] = await trained();
    await losses(to, train, { maxSteps: 3, epochs: 2 });
    await to.setParameters(await from.parameters(), { optimizer: "reset" });
    await to.save(where);
    const resumed = await Trainer.resume(where);
    const rest = { epochs: 2 };
    expect(await losses(resumed, train, rest)).toEqual(await losses(to, train, rest));
    expect(equalBytes(resumed.export().bytes, to.export().bytes)).toBe(true);
  });

  test("what does not fit is refused in words, and nothing is set", async () => {
    const trainer = await created();
    const list = await trainer.parameters();
    const vector = (await trainer.parameters({ flat: true })) as Float32Array;
    const first = list.find(({ name }) => name === "fc1.weight") as ParameterValues;
    const others = list.filter((one) => one !== first);
    const changed = (own: object) => [{ ...first, ...own }, ...others];
    const withNumber = (number: number) => vector.map((value, i) => (i === 70 ? number : value));
    const refused: readonly [unknown, RegExp][] = [
      [
        vector.subarray(1),
        /the vector has 170 numbers, but the 8 parameters of this run have 171, and 187 with/,
      ],
      [[], /the vector has 0 numbers/],
      [others, /"fc1.weight" is missing: give all of them, or some by trainer.takeOver/],
      [[...list, first], /"fc1.weight" is given twice/],
      [changed({ name: "fc9.weight" }), /no parameter "fc9.weight": it trains shared.bias, fc1.weight, /],
      [changed({ shape: [8, 6] }), /"fc1.weight" has the shape \[8,6\], but \[6,8\]/],
      [
        changed({ values: new Float32Array(3) }),
        /"fc1.weight" has 3 numbers, but its shape \[6,8\] takes 48/,
      ],
      [changed({ values: undefined }), /values of "fc1.weight" are not an array of numbers/],
      [changed({ values: new BigInt64Array(48) }), /are not an array of numbers/],
      [
        list.slice(1).map(({ values }) => values),
        /there are 7 arrays, but this run has 8 parameters, and 10/,
      ],
      [withNumber(Number.NaN), /number 7 of the parameter "bn.bias" is NaN/],
      [withNumber(Number.NEGATIVE_INFINITY), /is -Infinity: a run that diverged .* nothing was set/],
      [Array.from(withNumber(0), (v, i) => (i === 70 ? 1e300 : v)), /is 1e\+300, too large for float32/],
      ["weights", /a vector of numbers, or a list of arrays/],
      [undefined, /a vector of numbers, or a list of arrays/],
      [[["a"]], /there are 1 arrays/],
    ];
    for (const [given, message] of refused) {
      await expect(trainer.setParameters(given as never), String(message)).rejects.toThrow(message);
    }
    await expect(trainer.setParameters(vector, { optimizer: "drop" as never })).rejects.toThrow(
      /"keep".*"drop"/,
    );
    expect(await trainer.parameters({ flat: true })).toEqual(vector);
    const frozen = await created({ groups: [{ match: /fc1/, freezeUntil: 3 }] });
    await expect(frozen.setParameters(vector, { optimizer: "reset" })).rejects.toThrow(/freezeUntil/);
  });
});

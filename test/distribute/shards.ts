import { expect } from "vitest";
import { exactStages } from "../../src/distribute/stages.ts";
import {
  buildSplitStep,
  initialState,
  type Model,
  type SplitStep,
  type StepOptions,
  Tensor,
} from "../../src/index.ts";
import { byteLengthOf, elementCount } from "../../src/onnx/tensor.ts";
import { batchAxisOfPort, type DataPort, figureOutputs } from "../../src/programs/step-ports.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { advanced, opened, type Values } from "../helpers/step-graphs.ts";

/** A step over shards beside the same step over the joint batch, and what they are fed. */
export interface Comparison {
  readonly model: Model;
  readonly options: StepOptions & { readonly batch: number };
  readonly shards: readonly number[];
  readonly steps: number;
  readonly learningRate?: number;
  /** Numbers of an input of a step; default uniform from −1 to 1, of a mask of Dropout 0 and 1, of whole numbers classes below 3. */
  readonly numbers?: (port: DataPort, step: number) => readonly number[] | undefined;
}

/** The largest difference of both runs: of losses and penalties, and of the first step's gradients beside their largest number. */
export interface Difference {
  readonly loss: number;
  readonly gradients: number;
  readonly stages: number;
  /** Bytes that are reduced between the stages of a step, and those of the gradients. */
  readonly bytes: { readonly inner: number; readonly gradients: number };
}

/** Runs a step over each number of shards beside the step over the joint batch. */
export async function compare({ shards, ...of }: Comparison): Promise<Difference[]> {
  const { model, options } = of;
  const whole = await buildSplitStep(model, options);
  const [joint, update] = [await opened(whole.gradients), await opened(whole.update)];
  const steps = Array.from({ length: of.steps }, (_, index) => feedsOf(whole.ports, of, index));
  const statistics = whole.ports.statistics.map(
    ({ name, input }) => [input, (whole.initial.get(name) as Tensor).named(input)] as const,
  );
  const start: Values = {
    ...(await (
      await opened(initialState({ ...whole, model: whole.update }))
    )({})),
    ...Object.fromEntries(statistics),
  };
  const expected: Values[] = [];
  let state = start;
  for (const { fed, data } of steps) {
    const results = await joint({ ...state, ...fed, ...data });
    state = advanced(state, { ...results, ...(await update({ ...state, ...fed, ...results })) });
    expected.push(results);
  }
  const differences: Difference[] = [];
  for (const count of shards) {
    const run = await inShards(of, count);
    let [own, loss, gradients] = [start, 0, 0];
    for (const [index, { fed, data }] of steps.entries()) {
      const results = await run.step({ ...own, ...fed }, data);
      const wanted = expected[index] as Values;
      expect(Object.keys(wanted).every((name) => results[name])).toBe(true);
      for (const name of figureOutputs(whole.ports))
        loss = Math.max(loss, apart(results[name], wanted[name]));
      for (const [name, tensor] of index === 0 ? Object.entries(wanted) : []) {
        gradients = Math.max(gradients, apart(results[name], tensor));
      }
      own = advanced(own, { ...results, ...(await update({ ...own, ...fed, ...results })) });
    }
    differences.push({ loss, gradients, stages: run.stages, bytes: run.bytes });
  }
  return differences;
}

/** A step over shards, whose stages run one after the other for every shard. */
async function inShards({ model, options }: Omit<Comparison, "shards">, count: number) {
  const batch = options.batch / count;
  const step = await exactStages(model, { ...options, batch }, { shards: count, probe: nodeProbe });
  const stages = await Promise.all(
    step.stages.map(async (stage) => ({ ...stage, run: await opened(stage.model) })),
  );
  const { inputs, masks, labels: target } = step.ports;
  const ports = [...inputs, ...masks, ...(target ? [target] : [])];
  const bytes = { inner: 0, gradients: 0 };
  return {
    stages: stages.length,
    bytes,
    /** @param fed - what all shards read @param data - of the joint batch @returns what all shards have at the end */
    step: async (fed: Values, data: Values): Promise<Values> => {
      const parts = Array.from({ length: count }, (_, shard): Values => {
        const cut = ports.map((port) => [port.name, rowsOf(port, data[port.name] as Tensor, shard)] as const);
        return { ...fed, ...Object.fromEntries(cut) };
      });
      Object.assign(bytes, { inner: 0, gradients: 0 });
      for (const { run, reduce } of stages) {
        for (const part of parts) Object.assign(part, await run(part));
        for (const { name, op, as } of reduce) {
          const whole = reduced(
            parts.map((part) => part[name] as Tensor),
            op,
            as ?? name,
          );
          for (const part of parts) part[whole.name] = whole;
          bytes[as ? "inner" : "gradients"] += byteLengthOf(whole.type, whole.dims);
        }
      }
      const [first] = parts as [Values];
      const { parameters, statistics } = step.ports;
      const names = [
        ...parameters.map(({ gradient }) => gradient),
        ...statistics.map(({ output }) => output),
      ];
      for (const name of [...names, ...figureOutputs(step.ports)]) {
        for (const part of parts) expect(part[name]?.numbers(), name).toEqual(first[name]?.numbers());
      }
      return first;
    },
  };
}

/** What a step reads: of all samples alike, and of the joint batch. */
function feedsOf(
  { inputs, masks, labels: target, draws, scalars }: SplitStep["ports"],
  { numbers, learningRate = 0.01 }: Omit<Comparison, "shards">,
  step: number,
): { fed: Values; data: Values } {
  const ofBatch = [...inputs, ...masks, ...(target ? [target] : [])].map((port) => {
    const count = elementCount(port.shape);
    const name = `${port.name} ${step}`;
    const whole = port.type.startsWith("int") ? labels(name, count, 3) : [...uniform(name, count)];
    const own = masks.some((mask) => mask.name === port.name) ? whole.map((x) => (x < 0.4 ? 1 : 0)) : whole;
    return tensorOf(port, numbers?.(port, step) ?? own);
  });
  const fed = draws.map((port) =>
    tensorOf(port, [...uniform(`${port.name} ${step}`, elementCount(port.shape))]),
  );
  const { penaltyWeight, type } = scalars;
  const given = {
    [scalars.learningRate]: learningRate,
    [scalars.step]: step + 1,
    ...(penaltyWeight && { [penaltyWeight]: 0.1 }),
  };
  for (const [name, value] of Object.entries(given)) fed.push(tensorOf({ name, type, shape: [] }, [value]));
  const byName = (tensors: readonly Tensor[]) =>
    Object.fromEntries(tensors.map((tensor) => [tensor.name, tensor]));
  return { fed: byName(fed), data: byName(ofBatch) };
}

/** The largest difference beside the largest number, or beside 1 for numbers below. */
function apart(a: Tensor | undefined, b: Tensor | undefined): number {
  const [x, y] = [a?.numbers() ?? [], b?.numbers() ?? []];
  expect(x.length).toBe(y.length);
  const size = Math.max(...y.map(Math.abs), 1e-3);
  return Math.max(...y.map((value, i) => Math.abs(value - (x[i] ?? Number.NaN)) / size));
}

function tensorOf(
  { name, type, shape }: Pick<DataPort, "name" | "type" | "shape">,
  numbers: readonly number[],
): Tensor {
  if (type === "int32") return Tensor.of(name, type, shape, Int32Array.from(numbers));
  if (type === "int64") return Tensor.int64(name, shape, numbers);
  return type === "double"
    ? Tensor.of(name, type, shape, Float64Array.from(numbers))
    : Tensor.float(name, shape, numbers);
}

/** The rows of one shard. */
function rowsOf(port: DataPort, tensor: Tensor, shard: number): Tensor {
  expect(batchAxisOfPort(port)).toBe(0);
  const each = elementCount(port.shape);
  const numbers = [...tensor.numbers()].slice(shard * each, (shard + 1) * each);
  return tensorOf(port, numbers);
}

function reduced(tensors: readonly Tensor[], op: "sum" | "mean", name: string): Tensor {
  const [first] = tensors as [Tensor];
  const numbers = tensors.map((tensor) => tensor.numbers());
  const sums = [...first.numbers()].map((_, i) =>
    numbers.reduce((sum, values) => sum + (values[i] ?? Number.NaN), 0),
  );
  const by = op === "mean" ? tensors.length : 1;
  return tensorOf(
    { name, type: first.type, shape: first.dims },
    sums.map((sum) => sum / by),
  );
}

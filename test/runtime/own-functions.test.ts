import { beforeAll, expect, test } from "vitest";
import {
  arrayDataset,
  crossEntropy,
  definePenalty,
  inject,
  type Metric,
  type Model,
  type PenaltyDefinition,
  readModel,
  Trainer,
} from "../../src/index.ts";
import { type OwnLossOptions, ownLoss } from "../../src/losses/public.ts";

type Own = PenaltyDefinition<Readonly<Record<string, number>>>;

const data = arrayDataset(new Float32Array(8 * 784), new Int32Array(8), [1, 28, 28]);
let model: Model;
beforeAll(async () => {
  model = await readModel("models/mlp.onnx");
});

const results: readonly (readonly [unknown, string])[] = [
  [3, "not 3"],
  [undefined, "not undefined"],
  ["fc1.weight", 'not the text "fc1.weight"'],
  [[1, 2], "not an Array"],
  [Promise.resolve(), "not a promise: await it"],
];

test.each(results)(
  "%s is no value of a graph that a penalty or a loss of one's own may return",
  async (result, words) => {
    const build = (() => result) as unknown as Own["build"];
    const penalty = definePenalty({ name: "mine", on: "weights", defaults: {}, build })();
    const says = "returns a value of the graph, as g.reduceMean(x), ";
    await expect(inject(model, { penalties: [penalty] })).rejects.toThrow(
      `build of the penalty mine ${says}${words}`,
    );
    const loss = (() => result) as unknown as OwnLossOptions["loss"];
    const objective = ownLoss({ name: "mine", loss });
    await expect(Trainer.create(model, { objective, batch: 4 })).rejects.toThrow(
      `the function of the loss mine ${says}${words}`,
    );
  },
);

test("a penalty without build, or on something else, is refused", async () => {
  const definition = { name: "mine", on: "weights", defaults: {} } as unknown as Own;
  expect(() => definePenalty(definition)).toThrow(
    "a penalty is { name, on, defaults, build }, not an Object",
  );
  const build: Own["build"] = ({ g, unitVectors }) => g.reduceMean(unitVectors());
  const other = definePenalty({ name: "mine", on: "weight" as never, defaults: {}, build })();
  await expect(inject(model, { penalties: [other] })).rejects.toThrow(
    'on of the penalty mine takes weights or responses, not "weight"',
  );
});

test.each<[string, unknown, string]>([
  ["nothing", undefined, 'begin() of the metric "mine" returns { add(sample), result() }, not undefined'],
  [
    "no add",
    { result: () => 1 },
    'begin() of the metric "mine" returns { add(sample), result() }, not an Object',
  ],
  [
    "a text",
    { add() {}, result: () => "much" },
    'result() of the metric "mine" returns a number, not the text "much"',
  ],
  [
    "a promise",
    { add() {}, result: async () => 1 },
    'result() of the metric "mine" returns a number, not a promise',
  ],
])("a metric of one's own whose pass is %s says so", async (_, pass, words) => {
  const metric: Metric = { name: "mine", begin: () => pass as never };
  const trainer = await Trainer.create(model, { objective: crossEntropy(), batch: 4, metrics: [metric] });
  await expect(trainer.evaluate(data)).rejects.toThrow(words);
  await trainer.release();
});

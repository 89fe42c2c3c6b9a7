import { describe, expect, test } from "vitest";
import { Trainer, type TrainerOptions } from "../../src/index.ts";
import {
  accumulate,
  adam,
  adamw,
  chain,
  decayWeights,
  scaleByLearningRate,
  sgd,
} from "../../src/optimizers/public.ts";
import type { TrainerState } from "../../src/programs/trainer-state.ts";
import { relativeError } from "../helpers/numbers.ts";
import { network, plain, train } from "./small-run.ts";

/** The state after each of some steps, and what the run said. */
async function states(own: TrainerOptions, maxSteps: number) {
  const said: string[] = [];
  const onMessage = (message: string) => said.push(message);
  const trainer = await Trainer.create(network(), { ...plain, stepsPerRun: 1, onMessage, ...own });
  const found: TrainerState[] = [trainer.state()];
  for await (const { event } of trainer.fit(train, { epochs: 2, maxSteps })) {
    if (event === "step") found.push(await trainer.readState());
  }
  await trainer.release();
  return { said, found };
}

const numbersOf = ({ parameters, slots }: TrainerState, name: string) => [
  parameters.get(name)?.numbers(),
  ...[...(slots.get(name)?.values() ?? [])].map((slot) => slot.numbers()),
];

describe("groups", () => {
  test("have their own learning rate, which the schedule multiplies", async () => {
    const own = { optimizer: sgd(), schedule: "step:every=1,factor=0.5", learningRate: 0.1 };
    const { found: whole } = await states(own, 1);
    const groups = [
      { match: /^fc1/, learningRate: 0.2 },
      { match: /^fc/, learningRate: 0 },
    ];
    const { found, said } = await states({ ...own, groups }, 1);
    const moved = (list: readonly TrainerState[], name: string) => {
      const [before, after] = list.map(({ parameters }) => parameters.get(name)?.numbers() ?? []);
      return after?.map((value, i) => value - (before?.[i] ?? 0)) ?? [];
    };
    expect(
      relativeError(
        moved(found, "fc1.weight"),
        moved(whole, "fc1.weight").map((d) => 2 * d),
      ),
    ).toBeLessThan(1e-4);
    expect(moved(found, "fc3.weight").every((d) => d === 0)).toBe(true);
    expect(moved(found, "bn.weight")).toEqual(moved(whole, "bn.weight"));
    expect(said).toContain('group ^fc1: learning rate 0.2 ("shared.bias", "fc1.weight")');
  });

  test("that are frozen keep their numbers and slots to the bit, then train; also as the only ones that move", async () => {
    for (const [learningRate, rate] of [
      [0.01, 0.01],
      [0, 0.01],
    ] as const) {
      const groups = [{ match: /^fc2/, freezeUntil: 3, learningRate: rate }];
      const { found } = await states({ optimizer: adamw(), learningRate, groups }, 5);
      const texts = found.map((state) => JSON.stringify(numbersOf(state, "fc2.weight")));
      expect(texts.map((text) => text === texts[0])).toEqual([true, true, true, true, false, false]);
      const first = found[1] && JSON.stringify(found[1].parameters.get("fc3.weight")?.numbers());
      expect(first === JSON.stringify(found[0]?.parameters.get("fc3.weight")?.numbers())).toBe(
        learningRate === 0,
      );
    }
  });

  test("that wait longer than the run are named, and a mean of weights that does", async () => {
    const groups = [{ match: /fc1/, freezeUntil: 2 }];
    const { said } = await states({ groups, swa: 9 }, 2);
    expect(said).toContain("group fc1: frozen until step 2, and so in all 2 steps");
    expect(said).toContainEqual(
      expect.stringMatching(/mean of the weights begins at step 9, after the last step 2/),
    );
    const rare = await states({ optimizer: accumulate(3, adamw()) }, 2);
    expect(rare.said).toContain("the weights are updated once in 3 steps, and so in none of the 2");
    const all = await states({ groups, swa: 3, optimizer: accumulate(3, adamw()) }, 3);
    expect(all.said.join()).not.toMatch(/so in all|after the last|in none/);
  });

  test("and noDecay leave weight decay off", async () => {
    const base = { learningRate: 0.1, optimizer: adamw({ weightDecay: 0.5 }) };
    const none = { ...base, optimizer: adamw({ weightDecay: 0 }) };
    const [all, bare] = [await states(base, 1), await states(none, 1)];
    const own = await states({ ...base, noDecay: true, groups: [{ match: /fc3/, weightDecay: 0 }] }, 1);
    const numbersAfter = (run: typeof all, name: string) => run.found[1]?.parameters.get(name)?.numbers();
    for (const name of ["fc1.weight", "fc2.weight"])
      expect(numbersAfter(own, name)).toEqual(numbersAfter(all, name));
    for (const name of ["shared.bias", "bn.weight", "bn.bias", "fc3.bias", "fc3.weight"]) {
      expect(numbersAfter(own, name) ?? name).toEqual(numbersAfter(bare, name));
    }
    expect(own.said.find((text) => text.startsWith("no weight decay"))).toMatch(/"bn.weight", "bn.bias"/);
  });

  const own = chain(adamw(), decayWeights(0.1));
  test.each<[string, TrainerOptions, RegExp]>([
    [
      "no parameter",
      { groups: [{ match: /fc9/, learningRate: 1 }] },
      /--group fc9 matches no trained parameter; near it: fc/,
    ],
    [
      "only taken ones",
      {
        groups: [
          { match: /fc/, learningRate: 1 },
          { match: /fc1/, learningRate: 2 },
        ],
      },
      /group fc1 .*groups before it/,
    ],
    ["no setting", { groups: [{ match: /fc/ }] }, /group fc .*changes nothing/],
    [
      "the optimizer's own decay",
      { optimizer: adam(), groups: [{ match: /fc/, weightDecay: 0 }] },
      /group fc .*changes nothing: 0 is the weight decay of the optimizer/,
    ],
    ["a rate below 0", { groups: [{ match: /fc/, learningRate: -1 }] }, /learning rate of the group fc/],
    [
      "half a step",
      { groups: [{ match: /fc/, freezeUntil: 0.5 }] },
      /step until which the group fc is frozen/,
    ],
    ["two decays", { optimizer: own, groups: [{ match: /fc/, weightDecay: 0 }] }, /decays weights 2 times/],
    [
      "no decay to replace",
      { optimizer: scaleByLearningRate(), groups: [{ match: /fc/, weightDecay: 1 }] },
      /has no weight decay/,
    ],
    [
      "a decay that noDecay takes off",
      { noDecay: true, groups: [{ match: /^bn/, weightDecay: 1 }] },
      /noDecay .* is on/,
    ],
    [
      "noDecay of no decay",
      { noDecay: true, optimizer: adam() },
      /has no effect: the optimizer has no weight decay/,
    ],
    [
      "noDecay of matrices",
      { noDecay: true, trainable: /fc1.weight/ },
      /has no effect: no trained parameter/,
    ],
  ])("with %s are refused", async (_, options, says) => {
    await expect(Trainer.create(network(), { ...plain, ...options })).rejects.toThrow(says);
  });

  test("that are frozen until a step cannot take over another run's state", async () => {
    const groups = [{ match: /fc1/, freezeUntil: 3 }];
    const trainer = await Trainer.create(network(), { ...plain, groups });
    expect(() => trainer.takeOver({ updates: 7 })).toThrow(/cannot freeze a group until a step/);
    await trainer.release();
  });
});

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { blockOf } from "../../src/block/block.ts";
import { type Mark, markText, parseMark } from "../../src/block/mark.ts";
import { penaltiesOf } from "../../src/cli/penalty-flags.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import {
  buildStep,
  crossEntropy,
  decodeModel,
  inject,
  type Model,
  type Penalty,
  sgd,
  spectralSo,
  verify,
} from "../../src/index.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { definePenalty } from "../../src/penalties/define.ts";
import { resolvePlans } from "../../src/penalties/plan.ts";
import { som } from "../../src/penalties/som.ts";
import { parsePlan, planText } from "../../src/penalties/text.ts";
import { so } from "../../src/penalties/weights/so.ts";

const figuresOf = (text: string) => {
  const { plans } = resolvePlans([parsePlan(text)]);
  const { lambda1, lambda2, gamma } = plans[0]?.penalty.options ?? {};
  return { lambda1, lambda2, gamma, weight: plans[0]?.weight };
};

describe("som", () => {
  test("has the defaults that do no harm on any layer", () => {
    expect(figuresOf("som")).toEqual({ lambda1: 0, lambda2: 1, gamma: 10, weight: 0.1 });
  });

  test("has the source's values one word away, and others beside them", () => {
    const source = { lambda1: 100, lambda2: 1, gamma: 10, weight: 1 };
    expect(figuresOf("som:preset=source")).toEqual(source);
    expect(figuresOf("som:weight=0.5,preset=source,gamma=3")).toEqual({ ...source, gamma: 3, weight: 0.5 });
    expect(som.preset("source")).toEqual(parsePlan("som:preset=source"));
    expect(som.preset("source", { gamma: 3 }).penalty.options.gamma).toBe(3);
    expect(penaltiesOf({ penalty: ["som:preset=source"] })).toEqual([som.preset("source")]);
    // A preset brings its weight: another one stands in the same text.
    expect(() => penaltiesOf({ penalty: ["som:preset=source"], weight: 0.2 })).toThrow(/its own weight/);
    expect(() => penaltiesOf({ penalty: ["som:preset=source"], lambda1: 2 })).toThrow(/says lambda1 already/);
  });

  test("says its λ1, λ2, γ and weight, in words that can be read again", () => {
    expect(planText({ penalty: som() })).toBe("som:lambda1=0,lambda2=1,gamma=10,weight=0.1");
    const text =
      "som:lambda1=100,lambda2=1,gamma=10,scale=rms,weight=1,include='^c',exclude='2$',schedule='cosine'";
    expect(planText(parsePlan(text))).toBe(text);
    expect(planText({ penalty: so(), weight: 2 })).toBe("so:weight=2");
  });
});

test("a preset that is not there is refused, and what there is said", () => {
  expect(() => parsePlan("som:preset=paper")).toThrow('the penalty som has no preset "paper"; it has source');
  expect(() => parsePlan("so:preset=source")).toThrow('the penalty so has no preset "source"; it has none');
  expect(() =>
    definePenalty({ name: "x", on: "weights", defaults: { preset: 1 }, build: ({ weight }) => weight }),
  ).toThrow(/cannot have an option "preset"/);
});

describe("files of earlier versions", () => {
  const bytes = new Uint8Array(readFileSync("models/mlp.onnx"));

  /** The file as it would be, had another version written its mark. */
  async function withMark(penalties: readonly Penalty[], change: (mark: Mark) => Mark): Promise<Model> {
    const injected = await inject(decodeModel(bytes), { penalties });
    const { proto } = decodeModel(injected.bytes);
    const entry = proto.metadataProps?.find(({ key }) => key === "sorth");
    if (entry) entry.value = markText(change(parseMark(entry.value ?? "")));
    return decodeModel(encodeModelProto(proto));
  }

  test("keep the λ1 and the weight that were the defaults then: they hold them in full", async () => {
    const old = await withMark([som({ lambda1: 100 })], (mark) => ({
      ...mark,
      penalties: mark.penalties.map((penalty) => ({ ...penalty, weight: 1 })),
    }));
    const { penalties } = blockOf(graphOf(old)) ?? {};
    expect(penalties?.map(({ penalty, weight }) => [penalty.options.lambda1, weight])).toEqual([[100, 1]]);
    const step = await buildStep(old, { objective: crossEntropy(), optimizer: sgd(), batch: 8 });
    expect(step.penaltyWeight).toBe(1);
  });

  test("with random numbers that cannot be drawn again are not called wrong", async () => {
    const penalties = [spectralSo()];
    const old = await withMark(penalties, ({ random, ...mark }) => {
      expect(random).toBe(2);
      return mark;
    });
    const { checks, passed } = await verify(decodeModel(bytes), old);
    expect(passed).toBe(true);
    expect(checks.find(({ name }) => name === "penalty of fc1")?.detail).toMatch(
      /random numbers of "fc1" are those of an earlier version/,
    );
  });
});

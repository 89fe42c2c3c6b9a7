import { describe, expect, test } from "vitest";
import { parseMark } from "../../src/block/mark.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  buildArtifacts,
  buildSplitStep,
  buildStep,
  crossEntropy,
  definePenalty,
  differentiate,
  encodeModel,
  inject,
  Model,
  type PenaltyPlan,
  sgd,
  so,
  som,
  srip,
  strip,
  verify,
} from "../../src/index.ts";
import { resolvePlans } from "../../src/penalties/plan.ts";
import { parsePlan, penaltyText } from "../../src/penalties/text.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { relativeError } from "../helpers/numbers.ts";
import { StepRunner } from "../oracles/step-runner.ts";
import { dataFor } from "./cases.ts";
import { attributesOf, runPenalty } from "./layer-case.ts";
import { smallBatch, smallNetwork } from "./small-network.ts";

const batch = 6;
const model = smallNetwork();
const options = { objective: crossEntropy(), optimizer: sgd(), batch } as const;
const plans: readonly PenaltyPlan[] = [
  { penalty: som(), weight: 0.2, include: /c1|fc/ },
  { penalty: so(), weight: 0.05, schedule: "cosine" },
  { ...parsePlan("mhe:s=1,half=true,include=m"), weight: 0.4 },
];

async function oneStep(penalties: readonly PenaltyPlan[]) {
  const runner = await StepRunner.create(await buildStep(model, { ...options, penalties }));
  const { x, y } = smallBatch(0, batch);
  const result = await runner.run(x, y, { learningRate: 1, penaltyWeight: penalties[0]?.weight ?? 1 });
  const weights = ["c1.weight", "c2.weight", "m.weight", "fc.weight"].map((name) => runner.state(name));
  const { ports } = runner.step;
  await runner.release();
  return { result, weights, ports };
}

describe("several penalties at once", () => {
  test("add up, in the loss and in every gradient", async () => {
    const plain = await oneStep([]);
    const all = await oneStep(plans);
    const single = await Promise.all(plans.map((plan) => oneStep([plan])));
    const expected = single.reduce(
      (sum, { result }) => sum + result.loss - plain.result.loss,
      plain.result.loss,
    );
    expect(all.result.loss).toBeCloseTo(expected, 5);
    plain.weights.forEach((before, i) => {
      const change = (from: typeof plain) => (from.weights[i] ?? []).map((w, j) => w - (before[j] ?? 0));
      const sum = single.map(change).reduce((a, b) => a.map((x, j) => x + (b[j] ?? 0)));
      expect(relativeError(change(all), sum)).toBeLessThan(1e-4);
    });
  });

  test("each has its value, its factor and, with a schedule, an input of its own", async () => {
    const { result, ports } = await oneStep(plans);
    expect(ports.scalars.penaltyWeight).toBe("penalty_weight");
    expect(ports.penalties).toEqual([
      { name: "som", output: "penalty.som", factor: 1, schedule: undefined },
      { name: "so", output: "penalty.so", factor: 0.05 / 0.2, schedule: "penalty_weight.so" },
      { name: "mhe", output: "penalty.mhe", factor: 2, schedule: undefined },
    ]);
    const [ofSom = 0, ofSo = 0, ofMhe = 0] = result.penalties;
    expect(result.penalty).toBeCloseTo(ofSom + 0.25 * ofSo + 2 * ofMhe, 4);
    const alone = await oneStep(plans.slice(1, 2));
    expect(alone.ports.penalties).toEqual([
      { name: "so", output: "penalty", factor: 1, schedule: undefined },
    ]);
    expect(alone.result.penalties).toEqual([ofSo]);
  });

  test("go through a block and a split step", async () => {
    const injected = await inject(model, { penalties: plans });
    expect(Buffer.compare(encodeModel(strip(injected)), encodeModel(model))).toBe(0);
    const { checks } = await verify(model, injected);
    expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
    const text = injected.proto.metadataProps.find(({ key }) => key === "sorth")?.value ?? "";
    expect(parseMark(text).penalties.map(({ schedule }) => schedule)).toEqual([
      undefined,
      "cosine",
      undefined,
    ]);
    const [whole, split] = [
      await buildStep(injected, options),
      await buildSplitStep(model, { ...options, penalties: plans }),
    ];
    expect(whole.ports.penalties).toEqual(split.ports.penalties);
    expect([...whole.penaltySchedules].map(([name, factor]) => [name, factor(6, 10)])).toEqual([["so", 0.5]]);
    expect(whole.penaltyWeight).toBe(0.2);
  });

  test("a first weight of 0 leaves the others theirs", () => {
    const { weight, plans: resolved } = resolvePlans([
      { penalty: som(), weight: 0 },
      { penalty: so(), weight: 0.5 },
    ]);
    expect([weight, ...resolved.map(({ factor }) => factor)]).toEqual([0.5, 0, 1]);
  });

  test("the same penalty with other options for other layers", async () => {
    const twice = [
      { penalty: som({ gamma: 3 }), include: /^c/ },
      { penalty: som(), exclude: /^c/, weight: 2 },
    ];
    const injected = await inject(model, { penalties: twice });
    const { checks } = await verify(model, injected);
    expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
    expect((await oneStep(twice)).ports.penalties.map(({ name }) => name)).toEqual(["som", "som.2"]);
    await expect(inject(model, { penalties: [som(), som()] })).rejects.toThrow(
      /would get the penalty som twice/,
    );
  });

  test("a schedule that is a function cannot be kept in a model", async () => {
    const timed = [{ penalty: so(), schedule: () => 1 }];
    await expect(inject(model, { penalties: timed })).rejects.toThrow(
      /schedule of the penalty so is a function/,
    );
    await expect(buildStep(model, { ...options, penalties: timed })).resolves.toBeDefined();
    const wrong = [{ penalty: so(), schedule: "sawtooth" }];
    await expect(inject(model, { penalties: wrong })).rejects.toThrow(/there is no schedule "sawtooth"/);
    const step = buildStep(model, { objective: crossEntropy(), penalties: wrong, batch: 2 });
    await expect(step).rejects.toThrow(/there is no schedule "sawtooth"/);
  });
});

describe("what a graph cannot do for a penalty is said", () => {
  const penalties: readonly PenaltyPlan[] = [{ penalty: srip(), schedule: "srip" }];
  const held = "penalty srip: its weight stays the same here; train and step graphs follow its schedule";
  const constant = "penalty srip: its random numbers are constants here; train draws new ones each step";
  async function told(act: (onMessage: (message: string) => void) => Promise<unknown>): Promise<string[]> {
    const messages: string[] = [];
    await act((message) => messages.push(message));
    return messages.filter((message) => message.startsWith("penalty"));
  }

  test("where a loss or a gradient holds its weight", async () => {
    const objective = "cross-entropy";
    expect(await told((onMessage) => inject(model, { penalties, objective, onMessage }))).toEqual([
      held,
      constant,
    ]);
    const own = { objective: crossEntropy(), batch, penalties };
    expect(await told((onMessage) => differentiate(model, { ...own, onMessage }))).toEqual([held, constant]);
    const artifacts = { ...own, penalties: [{ penalty: so(), schedule: "cosine" }] };
    expect(await told((onMessage) => buildArtifacts(model, { ...artifacts, onMessage }))).toEqual([
      held.replace("srip", "so"),
    ]);
  });

  test("and not where training follows it", async () => {
    expect(await told((onMessage) => inject(model, { penalties, onMessage }))).toEqual([constant]);
    expect(await told((onMessage) => buildStep(model, { ...options, penalties, onMessage }))).toEqual([]);
  });
});

describe("a weight", () => {
  /** x → Gemm a (weight w) → Gemm b (the same weight) → logits. */
  function sharing(): Model {
    const b = new GraphBuilder(17);
    const x = b.input("x", ["batch", 5]);
    const w = b.weight("w", [5, 5]);
    const logits = b.op("Gemm", [b.op("Relu", [b.op("Gemm", [x, w], "a")], "r"), w], "b", { transB: 1 });
    logits.declared = ["batch", 5];
    logits.type = "float";
    return Model.fromProto(graphToProto(b.output(logits)));
  }

  test("that two layers share is penalised once", async () => {
    const messages: string[] = [];
    const penalties = [so()];
    const onMessage = (message: string) => messages.push(message);
    const injected = await inject(sharing(), { penalties, perSite: true, onMessage });
    expect(injected.proto.graph?.output?.map(({ name }) => name)).toEqual([
      ...["b", "sorth_penalty", "sorth_penalty/a"],
    ]);
    expect(messages).toEqual(["b: no so penalty of its own: its weight is that of a"]);
    const { checks } = await verify(sharing(), injected);
    expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
    // The responses differ: both layers take a penalty on them.
    const both = await inject(sharing(), { penalties: [som()], perSite: true });
    expect(both.proto.graph?.output).toHaveLength(4);
  });

  test("that is frozen costs no gradient of its penalty", async () => {
    const count = async (penalties: readonly PenaltyPlan[], freeze?: RegExp) => {
      const own = { ...options, penalties, ...(freeze && { freeze }) };
      return (await buildStep(model, own)).model.proto.graph?.node?.length ?? 0;
    };
    const include = /^m$/;
    const frozen = await count([{ penalty: so(), include }], /^m\./);
    const trained = await count([{ penalty: so(), include }]);
    const extra = [await count([], /^m\./), await count([])];
    // The value is still computed and shown: what is left out is its way back to the weight.
    expect(frozen - (extra[0] ?? 0)).toBeLessThan(trained - (extra[1] ?? 0));
    expect(
      (await buildStep(model, { ...options, penalties: [{ penalty: so(), include }], freeze: /^m\./ })).ports
        .penalty,
    ).toBe("penalty");
  });

  test("behind a Transpose gets its gradient through it", async () => {
    const b = new GraphBuilder(17);
    const x = b.input("x", [4, 5]);
    const turned = b.op("Transpose", [b.weight("w", [3, 5])], "turned", { perm: [1, 0] });
    const y = b.op("MatMul", [x, turned], "y");
    y.type = "float";
    y.declared = [4, 3];
    const behind = Model.fromProto(graphToProto(b.output(y)));
    const injected = await inject(behind, { penalties: [so()] });
    const { checks } = await verify(behind, injected);
    expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
    expect(checks.find(({ name }) => name === "gradient of y")?.status).toBe("passed");
    const { model: gradient, gradients } = await differentiate(injected, { objective: crossEntropy() });
    expect([...gradients.keys()]).toEqual(["w"]);
    expect(gradient.proto.graph?.output).toHaveLength(2);
  });
});

describe("a penalty of one's own", () => {
  const spread = definePenalty({
    name: "spread",
    on: "weights",
    defaults: { power: 2 },
    build: (layer, { power }) => {
      const { g } = layer;
      const norms = g.reduceSum(g.square(layer.unitVectors()), [-1]);
      return g.reduceMean(g.pow(g.sub(norms, 1), power));
    },
  });

  test("needs no gradient and no reference", async () => {
    const penalties = [{ penalty: spread(), weight: 0.3 }];
    const injected = await inject(model, { penalties });
    await expect(buildStep(injected, options)).rejects.toThrow(/there is no penalty "spread"/);
    const { checks, passed } = await verify(model, injected, { penalties: [spread()] });
    expect(passed).toBe(true);
    expect(checks.find(({ name }) => name === "penalty of fc")?.detail).toContain("has no reference");
    const { result, weights } = await oneStep(penalties);
    const plain = await oneStep([]);
    expect(result.loss).toBeCloseTo(plain.result.loss + 0.3 * result.penalty, 5);
    expect(weights).not.toEqual(plain.weights);
  });

  test("reads both operands, and its gradient reaches both", async () => {
    const both = definePenalty({
      name: "both",
      on: "responses",
      defaults: {},
      build: ({ g, response, weight }) =>
        g.mul(g.reduceMean(g.square(response)), g.reduceSum(g.square(weight))),
    });
    const layer = { response: [3, 4], unitAxis: 1, weight: [4, 2], attributes: attributesOf.transposed };
    const data = dataFor("both", layer);
    const { value, response, weight } = await runPenalty(both(), { ...layer, type: "double" }, data);
    const squares = (numbers: ArrayLike<number>) => Array.from(numbers).reduce((sum, x) => sum + x * x, 0);
    const [ofResponse, ofWeight] = [squares(data.response) / 12, squares(data.weight)];
    expect(value).toBeCloseTo(ofResponse * ofWeight, 12);
    response.forEach((slope, i) => {
      expect(slope).toBeCloseTo(((2 * (data.response[i] ?? 0)) / 12) * ofWeight, 12);
    });
    weight.forEach((slope, i) => {
      expect(slope).toBeCloseTo(2 * (data.weight[i] ?? 0) * ofResponse, 12);
    });
  });

  test("is refused with a name or an option that could not be told apart", () => {
    const of = (name: string, defaults: Record<string, number>) => () =>
      definePenalty({ name, on: "weights", defaults, build: ({ g, weight }) => g.reduceSum(weight) });
    expect(of("a b", {})).toThrow(/must be letters, digits and hyphens/);
    expect(of("ab", { weight: 1 })).toThrow(/cannot have an option "weight"/);
  });

  test("has to be one number", async () => {
    const vector = definePenalty({
      name: "vector",
      on: "weights",
      defaults: {},
      build: ({ weight }) => weight,
    });
    await expect(inject(model, { penalties: [vector()] })).rejects.toThrow(
      'the penalty vector of layer "c1" has the shape [4, 2, 3, 3]; it must be one number',
    );
  });
});

describe("a penalty as text", () => {
  test("is a name, options, and what every penalty has", () => {
    expect(penaltyText(parsePlan("som:rows=random,directions=64").penalty)).toBe(
      "som:lambda1=0,lambda2=1,gamma=10,rows=random,directions=64",
    );
    expect(penaltyText(parsePlan("so").penalty)).toBe("so");
    const { weight, include, exclude, schedule, penalty } = parsePlan(
      "mhe:s=2,weight=1e-3,include='^conv[1,2]',exclude=\"a,b\",schedule='cosine:warmup=2,floor=0.1'",
    );
    expect([weight, include, exclude, schedule]).toEqual([
      1e-3,
      /^conv[1,2]/,
      /a,b/,
      "cosine:warmup=2,floor=0.1",
    ]);
    expect(penalty.options).toEqual({ s: 2, half: false });
  });

  for (const [text, message] of [
    ["sum", /there is no penalty "sum"; there is som, so, /],
    ["so:gamma=1", /the penalty so has no option "gamma"; it has none/],
    ["mhe:s=x", /option s of the penalty mhe must be a number, not "x"/],
    ["mhe:s=3", /the penalty mhe: s must be 0, 1 or 2, not 3/],
    ["mhe:s", /"s" in "mhe:s" is no option: write key=value/],
    ["mhe:s=1,s=2", /gives s twice/],
    ["so:weight=-1", /weight of the penalty so must be a number of at least 0, not "-1"/],
    ["so:weight=", /weight of the penalty so must be a number of at least 0, not ""/],
    ["so:include=(", /"\(", which chooses layers of the penalty so, is no regular expression/],
    ["so:include='a,b", /cannot be read: write name:key=value,key=value/],
    ["keras:mode=diagonal", /option mode of the penalty keras must be rows or columns, not diagonal/],
    ["som:rows=random,maxRows=3", /rows=random reads no responses, .*; leave maxRows out/],
    ["som:angles=weights,gamma=3,center=true", /angles=weights reads no responses; leave gamma, center out/],
    ["som:center=true,bias=remove", /center removes the bias already; leave bias out/],
    ["som:directions=3", /rows=batch draws no directions; leave directions out/],
    ["som:maxRows=1.5", /maxRows must be a whole number of 0 or more, not 1.5/],
  ] as const) {
    test(`${text} is refused`, () => expect(() => parsePlan(text)).toThrow(message));
  }
});

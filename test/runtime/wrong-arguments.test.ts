import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as library from "../../src/index.ts";
import * as losses from "../../src/losses/public.ts";
import * as optimizers from "../../src/optimizers/public.ts";
import * as penalties from "../../src/penalties/public.ts";
import * as schedules from "../../src/schedules/public.ts";

const { SorthError, Trainer } = library;

/** What somebody may give by mistake, in the place of anything. */
const wrong: readonly unknown[] = [
  ...[null, "x", "", Number.NaN, -1, 1.5, true, 5n, [], [null], {}, () => 1, /x/],
  ...[new Map([["a", 1]]), new Set([1]), new Float32Array(2), new DataView(new ArrayBuffer(2))],
  ...[Promise.resolve(1), new Proxy({}, {}), Object.freeze({ a: 1 }), Object.create(null), new Date(0)],
];

const text = (value: unknown): string => {
  try {
    return typeof value === "function" ? "a function" : `${value} ${JSON.stringify(value)}`;
  } catch {
    return typeof value;
  }
};

/** A call with what is no text: a text would be the name of a file to write. */
const unlessText =
  (call: (given: never) => unknown) =>
  (given: never): unknown =>
    typeof given === "string" ? undefined : call(given);

/** What a call throws, if that is an error of JavaScript, and none that says what to do. */
async function inside(call: () => unknown): Promise<string | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    return error instanceof SorthError ? undefined : String(error);
  }
}

type Calls = Readonly<Record<string, (given: never) => unknown>>;

async function expectToldOf(calls: Calls): Promise<void> {
  const found: string[] = [];
  for (const [name, call] of Object.entries(calls)) {
    for (const value of wrong) {
      const error = await inside(() => call(value as never));
      if (error !== undefined) found.push(`${name}(${text(value)}): ${error}`);
    }
  }
  expect(found).toEqual([]);
}

let folder: string;
let model: library.Model;
let trainer: library.Trainer;
const data = library.arrayDataset(new Float32Array(8 * 784), new Int32Array(8), [1, 28, 28]);
const how = { objective: library.crossEntropy(), batch: 4, threads: 1 };
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-wrong-"));
  model = await library.readModel("models/mlp.onnx");
  trainer = await Trainer.create(model, how);
});
afterAll(async () => {
  await trainer.release();
  await rm(folder, { recursive: true });
});

/** Trains one step and evaluates, with an option. */
const trained = (name: string) => async (value: never) => {
  const own = await Trainer.create(model, { ...how, [name]: value });
  try {
    for await (const _ of own.fit(data, { maxSteps: 1 }));
    await own.evaluate(data);
  } finally {
    await own.release();
  }
};

const fitted = (name: string) => async (value: never) => {
  const more = name === "keep" || name === "checkpoint" ? { checkpoint: folder } : {};
  for await (const _ of trainer.fit(data, { epochs: 1, validation: 0.5, ...more, [name]: value }));
};

describe("what is given by mistake ends in an error that says what to give, never in one of JavaScript:", () => {
  it("models, files and bytes", () =>
    expectToldOf({
      readModel: (given) => library.readModel(given),
      decodeModel: (given) => library.decodeModel(given),
      "writeModel, path": unlessText((given) => library.writeModel(model, given)),
      loadData: (given) => library.loadData(given),
      loadMnist: (given) => library.loadMnist(given),
      "parseMnist, files": (given) => library.parseMnist(given, given, "digits"),
      decodeCheckpoint: (given) => library.decodeCheckpoint(given),
      isCheckpoint: (given) => library.isCheckpoint(given),
      encodeCheckpoint: (given) => library.encodeCheckpoint(given),
      "rescueModel, checkpoint": (given) => library.rescueModel(model, given),
      rescueFiles: (given) => library.rescueFiles(given),
      readAdapter: (given) => library.readAdapter(given),
      encodeAdapter: (given) => library.encodeAdapter(given),
      decodeAdapter: (given) => library.decodeAdapter(given),
      decodeOnnxAdapter: (given) => library.decodeOnnxAdapter(given),
      exportCheckpoint: (given) => library.exportCheckpoint(given),
      conversionOf: (given) => library.conversionOf(given),
      "withWeights, weights": (given) => library.withWeights(model, given),
      checkGraph: (given) => library.checkGraph(given),
      printGraph: (given) => library.printGraph(given),
      initialState: (given) => library.initialState(given),
      stepLoop: (given) => library.stepLoop(given),
      "distribute, output": unlessText((given) => library.distribute(model, { ...how, output: given })),
    }));

  it("data", () =>
    expectToldOf({
      "arrayDataset, x": (given) => library.arrayDataset(given, new Int32Array(8), [1]),
      "arrayDataset, y": (given) => library.arrayDataset(new Float32Array(8), given, [1]),
      "arrayDataset, shape": (given) => library.arrayDataset(new Float32Array(8), new Int32Array(8), given),
      namedDataset: (given) => library.namedDataset(given),
      "namedDataset, inputs": (given) => library.namedDataset({ inputs: given }),
      "namedDataset, input": (given) => library.namedDataset({ inputs: { x: given } }),
      "namedDataset, data": (given) => library.namedDataset({ inputs: { x: { data: given } } }),
      splitValidation: (given) => library.splitValidation(given, 0.5, 0),
      "splitValidation, share": (given) => library.splitValidation(data, given, 0),
      "splitValidation, seed": (given) => library.splitValidation(data, 0.5, given),
      balancedClassWeights: (given) => library.balancedClassWeights(given),
      datasetSubset: (given) => library.datasetSubset(given, new Uint32Array(1)),
      "datasetSubset, indices": (given) => library.datasetSubset(data, given),
      digitPoints: (given) => library.digitPoints(given),
      augmentedDataset: (given) => library.augmentedDataset(given, {}),
      "sampleFeeds, count": (given) => library.sampleFeeds(model, data, given),
      "responseAngles, data": (given) => library.responseAngles(model, given),
    }));

  it("options of what reads models", async () => {
    const injected = await library.inject(model, { penalties: [library.som()] });
    const feeds = await library.sampleFeeds(model, data, 4);
    await expectToldOf({
      "inspect, batch": (batch) => library.inspect(model, { batch }),
      "verify, feeds": (feeds) => library.verify(model, injected, { feeds }),
      "verify, seed": (seed) => library.verify(model, injected, { seed }),
      "verify, budget": (budget) => library.verify(model, injected, { budget }),
      "verify, penalties": (penalties) => library.verify(model, injected, { penalties }),
      "weightAngles, bins": (bins) => library.weightAngles(model, { bins }),
      "responseAngles, bins": (bins) => library.responseAngles(model, feeds, { bins }),
      "responseAngles, mapSize": (mapSize) => library.responseAngles(model, feeds, { mapSize }),
      "responseAngles, gamma": (gamma) => library.responseAngles(model, feeds, { gamma }),
      "buildStep, penalties": (penalties) => library.buildStep(model, { ...how, penalties }),
      "buildStep, groups": (groups) => library.buildStep(model, { ...how, groups }),
      "differentiate, objective": (objective) => library.differentiate(model, { objective, batch: 4 }),
      "buildArtifacts, objective": (objective) => library.buildArtifacts(model, { objective, batch: 4 }),
      "buildArtifacts, adamw": (adamw) =>
        library.buildArtifacts(model, { objective: how.objective, batch: 4, adamw }),
      "evaluateModel, objective": (objective) => library.evaluateModel(model, data, { objective }),
      "predict, objective": (objective) => library.predict(model, data, { objective }).next(),
      "sampleFeeds, normalize": (normalize) => library.sampleFeeds(model, data, 2, { normalize }),
      "updateBatchNorm, batch": (batch) => library.updateBatchNorm(model, data, { batch }),
      "trainSeeds, test": (test) =>
        library.trainSeeds(model, data, { ...how, seeds: [1], maxSteps: 1, test }),
      "generatorDataset, shapes": (shapes) =>
        library.generatorDataset(() => [{ x: [1, 2], y: 0 }], { size: 1, shapes }),
    });
  }, 60_000);

  it("records and pages", () =>
    expectToldOf({
      runRecord: (given) => library.runRecord(given),
      parseRunRecord: (given) => library.parseRunRecord(given),
      angleReportPage: (given) => library.angleReportPage(given),
      runReportPage: (given) => library.runReportPage(given),
      evaluationReportPage: (given) => library.evaluationReportPage(given, data),
      definePenalty: (given) => library.definePenalty(given),
      parseSchedule: (given) => library.parseSchedule(given),
    }));

  it("losses, penalties, optimizers and schedules", async () => {
    const made = Object.entries({ ...losses, ...penalties, ...optimizers, ...schedules });
    const isMaker = ([name, one]: [string, unknown]) =>
      typeof one === "function" && /^[a-z]/.test(name) && name !== "eachParameter";
    await expectToldOf(Object.fromEntries(made.filter(isMaker)) as Calls);
  });

  it("what a trainer is asked for", () =>
    expectToldOf({
      save: unlessText((given) => trainer.save(given)),
      "save, kinds": (given) => trainer.save(folder, given),
      load: (given) => trainer.load(given),
      "load, kind": (given) => trainer.load(folder, given),
      takeOver: (given) => trainer.takeOver(given),
      "takeOver, parameters": (given) => trainer.takeOver({ parameters: given }),
      "takeOver, slots": (given) => trainer.takeOver({ slots: given }),
      setParameters: (given) => trainer.setParameters(given),
      stepsLeft: (given) => trainer.stepsLeft(given),
      "stepsLeft, options": (given) => trainer.stepsLeft(data, given),
      "evaluate, signal": (given) => trainer.evaluate(data, { signal: given }),
      resume: (given) => Trainer.resume(given),
      rescue: (given) => Trainer.rescue(given),
      ...Object.fromEntries(
        [
          "epochs",
          "maxSteps",
          "validation",
          "checkpoint",
          "monitor",
          "keep",
          "earlyStop",
          "callbacks",
          "signal",
        ].map((name) => [`fit, ${name}`, name === "checkpoint" ? unlessText(fitted(name)) : fitted(name)]),
      ),
    }));

  it("options of a trainer", () => {
    const names = [
      ...["batch", "dims", "objective", "loss", "output", "teacher", "penalties", "onMessage", "batchNorm"],
      ...[
        "precision",
        "optimizer",
        "groups",
        "backend",
        "stepsPerRun",
        "threads",
        "learningRate",
        "schedule",
      ],
      ...["penaltyWeight", "normalize", "mixup", "buckets", "metrics", "seed", "lora", "onMemory", "swa"],
    ];
    return expectToldOf(Object.fromEntries(names.map((name) => [name, trained(name)])));
  }, 60_000);
});

describe("what would be passed over is refused:", () => {
  it("an abort controller in the place of its signal", async () => {
    const signal = new AbortController() as never;
    const says = "signal takes an AbortSignal, as in controller.signal, not an AbortController";
    await expect(trainer.fit(data, { signal }).next()).rejects.toThrow(says);
    await expect(library.evaluateModel(model, data, { signal })).rejects.toThrow(says);
  });

  it("numbers and misspelt names in the place of options", () => {
    expect(() => schedules.cosine(100 as never)).toThrow(
      "the schedule cosine takes its options as an object",
    );
    expect(() => schedules.cosine({ warmpu: 100 } as never)).toThrow('has no option "warmpu"; it has warmup');
    expect(() => schedules.oneCycle({ pct: 0.1 } as never)).toThrow(
      'the schedule one-cycle has no option "pct"',
    );
    expect(() => losses.crossEntropy(0.1 as never)).toThrow(
      "the objective cross-entropy takes its options as",
    );
    expect(() => penalties.som(0.5 as never)).toThrow("the penalty som takes its options as an object");
    expect(() => optimizers.adam("fast" as never)).toThrow(
      "the optimizer adam takes its options as an object",
    );
  });

  it("options of what has none, or misspelt ones of what has", () => {
    expect(() => losses.l1({ reduction: "sum" } as never)).toThrow(
      'the objective l1 has no option "reduction"; it has none',
    );
    expect(() => losses.meanSquaredError(0.5 as never)).toThrow("the objective mse takes its options as");
    expect(() => schedules.sripSchedule({ epochs: 3 } as never)).toThrow(
      'the schedule srip has no option "epochs"; it has none',
    );
    expect(() => library.tensorboard("logs", { hparams: {} } as never)).toThrow(
      'tensorboard has no option "hparams"; it has hyperParameters',
    );
    expect(() => optimizers.eachParameter({ name: "mine" } as never)).toThrow(
      "eachParameter takes { name, options, emit, compute }, not an Object",
    );
  });

  it("a schedule that gives no number", async () => {
    for (const given of [undefined, null, "1", Number.NaN, Promise.resolve(1)]) {
      const own = await Trainer.create(model, { ...how, schedule: () => given as never });
      await expect(own.fit(data).next()).rejects.toThrow(
        /^a schedule gives .* for step 1: it must return a number/,
      );
      await own.release();
    }
  });

  it("a dataset whose size is no number of samples, or that fills nothing", async () => {
    for (const size of [Number.NaN, "8", 1.5]) {
      const fit = trainer.fit({ ...data, size: size as never });
      await expect(fit.next()).rejects.toThrow("the size of a dataset is its number of samples");
    }
    await expect(trainer.evaluate({ ...data, fill: undefined as never })).rejects.toThrow("a function fill");
  });

  it("arrays whose buffer was transferred", async () => {
    const x = new Float32Array(8 * 784);
    const gone = library.arrayDataset(x, new Int32Array(8), [1, 28, 28]);
    structuredClone(x.buffer, { transfer: [x.buffer] });
    await expect(trainer.evaluate(gone)).rejects.toThrow("the data: the numbers of x are gone");
  });

  it("a Proxy of a model, as reactive frameworks make", async () => {
    const says =
      "the model is wrapped in a Proxy, as Vue and MobX do: give the model itself (toRaw, markRaw)";
    const proxy = new Proxy(model, {});
    await expect(library.inspect(proxy)).rejects.toThrow(says);
    await expect(Trainer.create(proxy, how)).rejects.toThrow(says);
  });

  it("lists of numbers in the place of typed arrays", () => {
    expect(() => library.arrayDataset([0.5, 1] as never, new Int32Array(2), [1])).toThrow(
      "the data: x is a typed array, not an Array: write Float32Array.from(x), or Int32Array.from(x)",
    );
  });
});

it("options that the caller changes afterwards are those of the call", async () => {
  const options = () => ({
    ...{ ...how, learningRate: 0.01, penalties: [{ penalty: library.som(), weight: 2 }] },
    groups: [{ match: /fc1/, learningRate: 0.5 }],
  });
  const [given, kept] = [options(), options()];
  const changed = await Trainer.create(model, given);
  Object.assign(given, { learningRate: 9, batch: 2, objective: undefined });
  Object.assign(given.penalties[0] ?? {}, { weight: 0 });
  given.penalties.length = 0;
  Object.assign(given.groups[0] ?? {}, { learningRate: 0 });
  const whole = await Trainer.create(model, kept);
  const run = async (one: library.Trainer) => {
    const found: number[] = [];
    for await (const event of one.fit(data, { epochs: 2 }))
      if (event.event === "step") found.push(event.loss);
    await one.save(join(folder, "changed"));
    const { options: stored } = await Trainer.resume(join(folder, "changed"));
    await one.release();
    return { found, rate: stored.learningRate, penalties: stored.penalties?.length };
  };
  expect(await run(changed)).toEqual(await run(whole));
});

it("typed arrays of another realm are those of this one", async () => {
  const xs = Float32Array.from({ length: 8 * 784 }, (_, i) => (i % 7) / 7);
  const foreign = runInNewContext("Float32Array.from(list)", { list: [...xs] }) as Float32Array<ArrayBuffer>;
  expect(foreign instanceof Float32Array).toBe(false);
  const feeds = async (x: Float32Array<ArrayBuffer>) => {
    const made = library.arrayDataset(x, new Int32Array(8), [1, 28, 28]);
    expect(made.x.type).toBe("float");
    return [...((await library.sampleFeeds(model, made, 8)).values().next().value?.numbers() ?? [])];
  };
  expect(await feeds(foreign)).toEqual(await feeds(xs));
});

import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { so, som, Trainer, type TrainingEvent, tensorboard } from "../../src/index.ts";
import { firstRecord, hyperParameterRecord, scalarRecord } from "../../src/report/tensorboard/event-file.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { clouds, network, plain } from "../runtime/small-run.ts";
import { eventsIn, readEvents } from "./event-reader.ts";

const fixture = JSON.parse(readFileSync("test/fixtures/tensorboard.json", "utf8")) as {
  readonly seconds: number;
  readonly steps: readonly (readonly [number, readonly (readonly [string, string])[]])[];
  readonly hyperParameters: Readonly<Record<string, string | number | boolean>>;
  readonly file: string;
};
let folder = temporaryFolder();
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

it("writes the bytes that TensorBoard's own package writes", () => {
  const { seconds, steps, hyperParameters, file } = fixture;
  const number = (text: string) => (text === "inf" ? Number.POSITIVE_INFINITY : Number(text));
  const records = [
    firstRecord(seconds),
    ...steps.map(([step, scalars]) =>
      scalarRecord(
        step,
        scalars.map(([tag, text]) => [tag, number(text)] as const),
        seconds,
      ),
    ),
    hyperParameterRecord(hyperParameters, seconds),
  ];
  expect(Buffer.concat(records).toString("base64")).toBe(file);
  const read = readEvents(Buffer.from(file, "base64"));
  expect(read.map(({ step }) => step)).toEqual([0, ...steps.map(([step]) => step), 0]);
  expect(read[1]?.scalars).toEqual({ "train/loss": 2.5, "train/penalty/som": 0 });
});

it("follows a run, and goes on in a further file without a step twice", async () => {
  const logs = join(folder.path, "logs");
  const options = {
    penalties: [{ penalty: som() }, { penalty: so(), weight: 0.01 }],
    schedule: "cosine",
    seed: 3,
  };
  const data = clouds("board", 32);
  const trainer = await Trainer.create(network(), { ...plain, ...options });
  const board = tensorboard(logs, { hyperParameters: { seed: 3 } });
  const seen = new Map<number, number>();
  const fit = { epochs: 2, validation: 0.25, checkpoint: join(folder.path, "run") };
  for await (const event of trainer.fit(data, { ...fit, maxSteps: 4 })) {
    board.add(event);
    if (event.event === "step") seen.set(event.step, event.loss);
  }
  await trainer.release();
  // A run that was killed has written steps after its last checkpoint, and half a record.
  const [name = ""] = readdirSync(logs);
  appendFileSync(join(logs, name), scalarRecord(5, [["train/loss", 7]], 1).slice(0, 40));
  const resumed = await Trainer.resume(fit.checkpoint);
  await resumed.load(fit.checkpoint, "best");
  const again = tensorboard(logs);
  for await (const event of resumed.fit(data, { epochs: 2, callbacks: [again] })) {
    if (event.event === "step") seen.set(event.step, event.loss);
  }
  again.evaluated("test", await resumed.evaluate(data), resumed.steps);
  await resumed.release();

  const events = eventsIn(logs, { cutOff: true });
  const curve = (tag: string) =>
    events.flatMap(({ step, scalars }) => (tag in scalars ? [[step, scalars[tag]]] : []));
  expect(curve("train/loss")).toEqual([...seen].map(([step, loss]) => [step, Math.fround(loss)]));
  expect(curve("train/learning_rate").map(([step]) => step)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(curve("train/learning_rate")[5]?.[1]).toBeLessThan(curve("train/learning_rate")[0]?.[1] ?? 0);
  for (const tag of ["validation/loss", "validation/accuracy", "epoch/loss", "epoch/number"]) {
    expect(curve(tag).map(([step]) => step)).toEqual([3, 6]);
  }
  expect(curve("test/loss")).toHaveLength(1);
  const last = events.find(({ step, scalars }) => step === 6 && "train/loss" in scalars)?.scalars ?? {};
  expect(Object.keys(last).sort()).toEqual(
    ["learning_rate", "loss", "penalty", "penalty/so", "penalty/som", "penalty_share"].map(
      (one) => `train/${one}`,
    ),
  );
  const added = (last["train/penalty/som"] ?? 0) + (last["train/penalty/so"] ?? 0);
  expect(added / (last["train/loss"] ?? 1)).toBeCloseTo(last["train/penalty_share"] ?? 0, 5);
  expect(events.filter(({ plugins }) => plugins["_hparams_/session_start_info"] === "hparams")).toHaveLength(
    1,
  );
  expect(events.filter(({ version }) => version === "brain.Event:2")).toHaveLength(2);
});

it("refuses a folder that is a file, and files of events that are none", () => {
  const step = {
    event: "step",
    step: 2,
    loss: 1,
    penalty: 0,
    penalties: {},
    learningRate: 0.1,
  } as TrainingEvent;
  const file = join(folder.path, "file");
  writeFileSync(file, "");
  expect(() => tensorboard(file).add(step)).toThrow(
    `cannot make the folder "${file}": a file or link of this name is there`,
  );
  const logs = join(folder.path, "logs");
  mkdirSync(logs);
  const pipe = join(logs, "events.out.tfevents.1.pipe");
  execFileSync("mkfifo", [pipe]);
  expect(() => tensorboard(logs).add(step)).toThrow(
    `cannot read events for TensorBoard in "${pipe}": it is a pipe`,
  );
});

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type EvaluationResult, Trainer, type TrainingEvent } from "../../src/index.ts";
import { joinChunks } from "../../src/onnx/stored.ts";
import { decodeTensors, encodeTensors } from "../../src/programs/checkpoint.ts";
import { withEpoch } from "../../src/runtime/run-history.ts";
import { positionFromText, startPosition } from "../../src/runtime/run-position.ts";
import { losses, network, plain, train } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-history-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("a checkpoint keeps the figures of every epoch, and a resumed run adds to them", async () => {
  const trainer = await Trainer.create(network(), plain);
  const validated: (EvaluationResult | undefined)[] = [];
  const fit = { epochs: 3, validation: 0.2, checkpoint: folder };
  for await (const event of trainer.fit(train, { ...fit, maxSteps: 13 }))
    if (event.event === "epoch") validated.push(event.validation);
  await trainer.release();
  const path = join(folder, "last.safetensors");
  const stored = async () => {
    const { metadata } = decodeTensors(await readFile(path), path);
    return positionFromText(metadata.position ?? "", path).history;
  };
  expect((await stored())?.map(({ epoch, step, validation }) => [epoch, step, validation?.loss])).toEqual(
    [6, 12].map((step, i) => [i + 1, step, validated[i]?.loss]),
  );
  const next = await Trainer.resume(folder);
  const events: TrainingEvent[] = [];
  for await (const event of next.fit(train, { checkpoint: folder, maxSteps: 14 })) events.push(event);
  await next.release();
  // As the end of a run that was not stopped: the figures of its last validated epoch.
  expect(events.at(-1)).toMatchObject({ event: "end", step: 14, validation: validated[1] });
  const resumed = await Trainer.resume(folder);
  await losses(resumed, train, { checkpoint: folder, epochs: 3 });
  expect((await stored())?.map(({ step }) => step)).toEqual([6, 12, 18]);

  // A checkpoint of a version without a history.
  const { tensors, metadata } = decodeTensors(await readFile(path), path);
  const { history: _, ...old } = JSON.parse(metadata.position ?? "");
  const position = JSON.stringify(old);
  await writeFile(path, joinChunks(encodeTensors(tensors, { ...metadata, position })));
  const later = await Trainer.resume(folder);
  await losses(later, train, { checkpoint: folder, epochs: 4 });
  expect((await stored())?.map(({ step }) => step)).toEqual([24]);
});

test("figures that are no numbers come back as NaN, and a damaged history is refused", () => {
  const lost = { loss: Number.NaN, accuracy: 0, samples: 3, metrics: { f1: Number.NaN } };
  const history = withEpoch([], { epoch: 1, step: 2, loss: Number.POSITIVE_INFINITY, validation: lost });
  const text = JSON.stringify({ ...startPosition(), step: 2, history });
  expect(positionFromText(text, "f").history).toEqual([
    {
      epoch: 1,
      step: 2,
      loss: Number.NaN,
      validation: { loss: Number.NaN, accuracy: 0, metrics: { f1: Number.NaN } },
    },
  ]);
  const epoch = { epoch: 1, step: 2, loss: 1 };
  for (const wrong of [
    {},
    [1],
    [{ ...epoch, step: 0 }],
    [{ ...epoch, loss: "x" }],
    [{ ...epoch, validation: {} }],
  ])
    expect(() => positionFromText(JSON.stringify({ ...startPosition(), history: wrong }), "f")).toThrow(
      /cannot be read/,
    );
});

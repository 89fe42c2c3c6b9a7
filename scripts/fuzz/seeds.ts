import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { run } from "../../src/cli/program.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  addAdapters,
  arrayDataset,
  crossEntropy,
  inject,
  Model,
  readModel,
  sgd,
  som,
  Trainer,
  writeModel,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { npz } from "../../test/cli/npz.ts";
import { GraphBuilder } from "../../test/helpers/build-graph.ts";
import { externalized } from "./externalized.ts";
import type { Files } from "./family.ts";

const repository = new URL("../../", import.meta.url).pathname;

/** A path of the repository. */
export const inRepository = (path: string): string => join(repository, path);

/** Two layers with BatchNormalization and Dropout. */
function network(): Model {
  const b = new GraphBuilder(18);
  const x = b.input("x", ["batch", 6]);
  const vector = (name: string, value: number) =>
    b.graph.addInitializer(Tensor.float(name, [8], new Float32Array(8).fill(value)));
  let h = b.op("Gemm", [x, b.weight("fc1.weight", [6, 8]), vector("fc1.bias", 0)], "fc1");
  const statistics = [vector("bn.mean", 0), vector("bn.var", 1)];
  h = b.op("BatchNormalization", [h, vector("bn.weight", 1), vector("bn.bias", 0), ...statistics], "bn");
  h = b.op("Dropout", [h, b.graph.addInitializer(Tensor.float("ratio", [], [0.25]))], "drop");
  b.graph.addOutput(b.op("Gemm", [h, b.weight("fc2.weight", [8, 3])], "logits"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

/** Twelve samples for {@link network}. */
export const samples = (size = 12) =>
  arrayDataset(
    Float32Array.from({ length: size * 6 }, (_, i) => Math.sin(i)),
    Int32Array.from({ length: size }, (_, i) => i % 3),
    [6],
    { name: "samples" },
  );

/** Writes what cases are made of and the repository does not hold: injected models, external data, a checkpoint. */
export async function makeSeeds(folder: string): Promise<void> {
  await mkdir(join(folder, "injected"), { recursive: true });
  await mkdir(join(folder, "external"), { recursive: true });
  const plain = network();
  await writeModel(plain, join(folder, "network.onnx"));
  const cnn = await readModel(inRepository("test/fixtures/exports/cnn.script-eval-dynamic.onnx"));
  for (const [name, model] of Object.entries({ network: plain, cnn })) {
    const injected = await inject(model, { penalties: [som()], onMessage: () => {} });
    await writeModel(injected, join(folder, "injected", `${name}.onnx`));
  }
  await writeModel(await addAdapters(plain, { rank: 2 }), join(folder, "adapted.onnx"));
  await writeFile(
    join(folder, "data.npz"),
    npz(12, [6], (index) => index % 3),
  );
  await trainedRun(folder);
  await externalized(plain, join(folder, "external"));
  const trainer = await Trainer.create(plain, {
    objective: crossEntropy(),
    optimizer: sgd({ momentum: 0.9 }),
    batch: 4,
    penalties: [som()],
  });
  const checkpoint = join(folder, "checkpoint");
  for await (const _ of trainer.fit(samples(), { epochs: 2, validation: 0.25, checkpoint })) {
    // The folder is wanted, not the events.
  }
  await trainer.release();
}

/** The folder of a run by the command line, with its record and its configuration. */
async function trainedRun(folder: string): Promise<void> {
  let message = "";
  const write = (text: string) => (message += text);
  const words = [
    ...[
      "train",
      join(folder, "network.onnx"),
      "--data",
      join(folder, "data.npz"),
      "--epochs",
      "2",
      "--batch",
      "4",
    ],
    ...[
      "--validation",
      "0.34",
      "--keep",
      "1",
      "--no-report",
      "--penalty",
      "som",
      "--threads",
      "1",
      "--quiet",
    ],
    ...["-o", join(folder, "trained.onnx"), "--checkpoint", join(folder, "run")],
  ];
  const code = await run(words, { stdout: { write }, stderr: { write } });
  if (code !== 0) throw new Error(`the seeds cannot be made: ${message}`);
}

/** The files of a folder and its subfolders. */
export async function filesIn(folder: string): Promise<Files> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return new Map(
    await Promise.all(
      files.map(async ({ parentPath, name }) => {
        const path = join(parentPath, name);
        return [relative(folder, path).split(sep).join("/"), await readFile(path)] as const;
      }),
    ),
  );
}

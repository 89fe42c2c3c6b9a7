/**
 * Runs ONNX Runtime's official Python package (onnxruntime-training 1.19.2) on files that sorth-onnx writes, and writes the
 * results into docs/official.md. Run: npm run official
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { graphOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  adamwOrt,
  arrayDataset,
  buildArtifacts,
  checkpointOf,
  crossEntropy,
  inject,
  Model,
  readCheckpoint,
  readModel,
  rescueModel,
  som,
  Trainer,
  writeCheckpoint,
  writeModel,
} from "../../src/index.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import {
  officialBatch,
  officialLosses,
  officialPath,
  pytorch,
} from "../../test/artifacts/official-fixtures.ts";
import { labels, uniform } from "../../test/helpers/lcg.ts";
import { trainedPenalties } from "../../test/penalties/small-network.ts";
import { pythonInterpreter } from "../python-environment.ts";

type OptimizerName = "adamw" | "sgd";

/** One run of the official Python package. */
interface Task {
  readonly what: string;
  readonly network: string;
  readonly folder: string;
  readonly shape: readonly number[];
  readonly classes: number;
  readonly optimizer: OptimizerName;
  /** The expected losses. */
  readonly losses: readonly number[];
  readonly example?: "block" | "graph";
  readonly eval?: boolean;
  readonly resume?: boolean;
  readonly checkpoint?: string;
  readonly first?: number;
}

const here = fileURLToPath(new URL(".", import.meta.url));
const examples = fileURLToPath(new URL("../../examples", import.meta.url));
const report = fileURLToPath(new URL("../../docs/official.md", import.meta.url));
const work = mkdtempSync(join(tmpdir(), "sorth-official-"));
const penalties = [{ penalty: som({ lambda1: 100 }), weight: pytorch.weight }];
const tasks: Task[] = [];

function folderOf(...parts: string[]): { folder: string; at: (file: string) => string } {
  const folder = parts.join("-");
  mkdirSync(join(work, folder), { recursive: true });
  return { folder, at: (file) => join(work, folder, file) };
}

for (const [network, figures] of Object.entries(pytorch.networks)) {
  const shape = figures.shape;
  const batch = shape[0] ?? 1;
  const common = { network, shape, classes: 5 };
  const forward = await readModel(officialPath(`${network}/forward.onnx`));

  const block = folderOf(network, "block");
  await writeModel(await inject(forward, { penalties }), block.at("injected.onnx"));
  tasks.push({
    ...{ ...common, folder: block.folder, what: "injected model, builder with a block (example 08)" },
    ...{ example: "block", optimizer: "adamw", losses: figures.som.adamw },
  });

  const graph = folderOf(network, "graph");
  const withLoss = await inject(withOwnLoss(forward), { penalties, loss: "loss" });
  await writeModel(withLoss, graph.at("injected.onnx"));
  tasks.push({
    ...{ ...common, folder: graph.folder, what: "injected model, loss in the graph (example 09)" },
    ...{ example: "graph", optimizer: "adamw", losses: figures.som.adamw },
  });

  const training = await readModel(officialPath(`${network}/training_model.onnx`));
  for (const optimizer of ["adamw", "sgd"] as const) {
    const own = folderOf(network, "injected", optimizer);
    await writeModel(await inject(training, { penalties }), own.at("training_model.onnx"));
    copyFileSync(officialPath(`${network}/checkpoint`), own.at("checkpoint"));
    const suffix = optimizer === "sgd" ? "_sgd" : "";
    copyFileSync(officialPath(`${network}/optimizer_model${suffix}.onnx`), own.at("optimizer_model.onnx"));
    tasks.push({
      ...{ ...common, folder: own.folder, what: "injected training_model.onnx" },
      ...{ optimizer, losses: figures.som[optimizer] },
    });

    for (const form of ["plain", "som"] as const) {
      const made = folderOf(network, "artifacts", optimizer, form);
      const artifacts = await buildArtifacts(forward, {
        ...{ objective: crossEntropy(), batch, optimizer, penalties: form === "som" ? penalties : [] },
      });
      await writeModel(artifacts.training, made.at("training_model.onnx"));
      await writeModel(artifacts.eval, made.at("eval_model.onnx"));
      await writeModel(artifacts.optimizer, made.at("optimizer_model.onnx"));
      await writeCheckpoint(made.at("checkpoint"), artifacts.checkpoint);
      tasks.push({
        ...{ ...common, folder: made.folder, optimizer, losses: figures[form][optimizer] },
        ...{ what: `our artifacts, ${form}`, eval: true, resume: true },
      });
    }
  }

  const back = folderOf(network, "rescued");
  const before = await readCheckpoint(officialPath(`${network}/checkpoint`));
  const trainer = await Trainer.rescue(rescueModel(training, before), { optimizer: adamwOrt(), batch });
  for (let index = 0; index < 10; index++) {
    const { x, labels: y } = officialBatch(network, index);
    const data = arrayDataset(x.data as Float32Array, Int32Array.from(y.numbers()), shape.slice(1));
    for await (const _ of trainer.fit(data, { epochs: index + 1 }));
  }
  await writeCheckpoint(back.at("checkpoint"), checkpointOf(trainer.state(), before));
  await trainer.release();
  for (const file of ["training_model.onnx", "optimizer_model.onnx"]) {
    copyFileSync(officialPath(`${network}/${file}`), back.at(file));
  }
  tasks.push({
    ...{ ...common, folder: back.folder, what: "steps 11 to 20 from a checkpoint of a rescued run" },
    ...{ optimizer: "adamw", first: 10, losses: officialLosses[network]?.adamw.slice(10) ?? [] },
  });
}

// The sample models: the official Python package compared with our own Trainer.
for (const name of ["mlp", "cnn"]) {
  const model = await readModel(fileURLToPath(new URL(`../../models/${name}.onnx`, import.meta.url)));
  const target = folderOf("sample", name);
  const shape = [8, 1, 28, 28];
  const network = `sample-${name}`;
  await writeModel(await inject(model, { penalties }), target.at("injected.onnx"));
  const trainer = await Trainer.create(model, {
    ...{ objective: crossEntropy(), penalties, optimizer: adamwOrt(), batch: 8 },
  });
  const losses: number[] = [];
  for (let index = 0; index < 20; index++) {
    const x = uniform(`${network}/x/${index}`, 8 * 784, 1.7);
    const data = arrayDataset(x, Int32Array.from(labels(`${network}/y/${index}`, 8, 10)), shape.slice(1));
    for await (const event of trainer.fit(data, { epochs: index + 1 })) {
      if (event.event === "step") losses.push(event.loss);
    }
  }
  await trainer.release();
  tasks.push({
    ...{ network, shape, classes: 10, folder: target.folder, optimizer: "adamw", losses, example: "block" },
    what: "injected sample model, builder with a block (example 08), beside our Trainer",
  });
}

// Every other penalty that a session can train with, differentiated by the official builder, compared with our own Trainer.
for (const text of trainedPenalties.filter((text) => !/^som$|rows=random|^srip/.test(text))) {
  const network = "cnn";
  const shape = pytorch.networks[network]?.shape ?? [];
  const forward = await readModel(officialPath(`${network}/forward.onnx`));
  const target = folderOf("penalty", String(tasks.length));
  // SOM's forms use the source's λ1, like plain SOM above.
  const own = [{ ...parsePlan(text.replace(/^som:/, "som:lambda1=100,")), weight: pytorch.weight }];
  await writeModel(await inject(forward, { penalties: own }), target.at("injected.onnx"));
  const trainer = await Trainer.create(forward, {
    ...{ objective: crossEntropy(), penalties: own, optimizer: adamwOrt(), batch: shape[0] ?? 1 },
  });
  const losses: number[] = [];
  for (let index = 0; index < 20; index++) {
    const { x, labels: y } = officialBatch(network, index);
    const data = arrayDataset(x.data as Float32Array, Int32Array.from(y.numbers()), shape.slice(1));
    for await (const event of trainer.fit(data, { epochs: index + 1 })) {
      if (event.event === "step") losses.push(event.loss);
    }
  }
  await trainer.release();
  tasks.push({
    ...{ network, shape, classes: 5, folder: target.folder, optimizer: "adamw", losses, example: "block" },
    what: `injected penalty ${text}, builder with a block (example 08), beside our Trainer`,
  });
}

writeFileSync(join(work, "tasks.json"), JSON.stringify(tasks));
execFileSync(pythonInterpreter("official-python"), [join(here, "check.py"), work, examples], {
  stdio: ["ignore", "inherit", "ignore"],
});
writeFileSync(
  report,
  `# Beside ONNX Runtime's official training package

Made by \`npm run official\`: onnxruntime-training 1.19.2 (Python) over files that sorth-onnx wrote. Networks and batches are those of
[test/fixtures/official](../test/fixtures/official/README.md); 20 steps, AdamW at 1e-3, SGD at 0.01. The difference is the largest
one between the losses and what they have to be: PyTorch's in float64, plain or with SOM (weight ${pytorch.weight}); for steps 11 to 20
those of an uninterrupted official run. "Resumed": 10 steps, save, load, 10 steps give the same bits as 20. The same in the web runtime
(onnxruntime-web 1.19.2, node and Chromium) is part of the tests.

| what | network | optimizer | steps | largest difference | resumed |
|---|---|---|---|---|---|
${readFileSync(join(work, "table.md"), "utf8")}`,
);
rmSync(work, { recursive: true });
console.log(`wrote ${report}`);

/** A model whose first output is a SoftmaxCrossEntropyLoss, like a user's export that contains its loss. */
function withOwnLoss(model: Model): Model {
  const graph = graphOf(model);
  const [logits] = graph.outputs;
  if (!logits) throw new Error("the model has no output");
  const batch = logits.declared?.[0];
  const target = graph.addInput("labels", "int64", undefined, [batch]);
  const node = graph.addNode({
    ...{ opType: "SoftmaxCrossEntropyLoss", name: "cross_entropy", inputs: [logits, target] },
    outputs: ["loss", "log_prob"],
  });
  const loss = node.outputs[0];
  if (loss) {
    loss.type = "float";
    loss.shape = [];
    graph.outputs.unshift(loss);
  }
  return Model.fromProto(graphToProto(graph, { irVersion: Number(model.proto.irVersion) }));
}

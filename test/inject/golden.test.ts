import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { blockPrefix, markKey } from "../../src/analysis/block-nodes.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { printNode } from "../../src/graph/print.ts";
import {
  buildStep,
  crossEntropy,
  decodeModel,
  decov,
  inject,
  type Model,
  type PenaltyPlan,
  readModel,
  sgd,
  so,
  som,
  vicreg,
} from "../../src/index.ts";
import type { InjectOptions } from "../../src/inject/options.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import { officialFile } from "../artifacts/official-fixtures.ts";
import { printProgram } from "../helpers/print-program.ts";

/** One with a closed form on responses, one on weights, one that the walk differentiates, the first a second time. */
const several = (first: RegExp): readonly PenaltyPlan[] => [
  { penalty: som(), weight: 0.2, include: first },
  { penalty: so(), weight: 0.05, schedule: "cosine" },
  { ...parsePlan("mhe:s=1,half=true"), weight: 0.2 },
  { penalty: som({ gamma: 5 }), weight: 0.4, exclude: first },
  { penalty: vicreg(), weight: 0 },
];
const first = { mlp: /fc1/, cnn: /conv1/, pointnet: /^(?!.*2)/ } as const;
const samples = ["mlp", "cnn", "pointnet"] as const;

/** The file's checksum, and what the block added: inputs, nodes, outputs and mark. */
function printed(model: Model): string {
  const graph = graphOf(model);
  const bytes = Buffer.concat(model.chunks);
  return [
    createHash("sha256").update(bytes).digest("hex"),
    ...graph.inputs.filter(({ initializer }) => !initializer).map(({ name }) => `input ${name}`),
    ...graph.nodes
      .filter(({ name, outputs }) =>
        [name, ...outputs.map((o) => o?.name)].some((n) => n?.startsWith(blockPrefix)),
      )
      .map(printNode),
    `return ${graph.outputs.map(({ name }) => name).join(", ")}`,
    graph.metadata.get(markKey),
    "",
  ].join("\n");
}

const checksum = (model: Model): string =>
  createHash("sha256").update(Buffer.concat(model.chunks)).digest("hex");

/** Files that were recorded once: a change of how a block is assembled must not change a byte of it. */
describe("injected files are those that were recorded", () => {
  it.each(samples)("%s.onnx with several penalties", async (sample) => {
    const penalties = several(first[sample]);
    const model = await readModel(`models/${sample}.onnx`);
    const injected = await inject(model, { penalties, perSite: true, objective: "cross-entropy" });
    await expect(printed(injected)).toMatchFileSnapshot(`golden/${sample}.several.txt`);
  });

  it("with one penalty and each objective", async () => {
    const sums: string[] = [];
    for (const sample of samples) {
      const model = await readModel(`models/${sample}.onnx`);
      const add = async (label: string, options: Omit<InjectOptions, "penalties">, penalty = som()) =>
        sums.push(
          `${sample} ${label}: ${checksum(await inject(model, { penalties: [penalty], ...options }))}`,
        );
      await add("plain", {});
      await add("per site", { perSite: true });
      await add("so", {}, so());
      for (const objective of ["cross-entropy", "mse", "l1", "bce"] as const)
        await add(objective, { objective });
    }
    await expect(`${sums.join("\n")}\n`).toMatchFileSnapshot("golden/checksums.txt");
  });

  it.each(["mlp", "cnn"])("the official training model %s, with gradients", async (name) => {
    const training = decodeModel(officialFile(`${name}/training_model.onnx`));
    const penalties = [
      { penalty: som(), weight: 0.2 },
      { penalty: so(), weight: 0.1 },
      { penalty: decov(), weight: 0.1 },
    ];
    const injected = await inject(training, { penalties, perSite: true });
    await expect(printed(injected)).toMatchFileSnapshot(`golden/${name}.training.txt`);
  });
});

/** The same assembly in a program that differentiates itself. */
it("a step with several penalties is the one that was recorded", async () => {
  const options = { objective: crossEntropy(), penalties: several(first.mlp), batch: 8, optimizer: sgd() };
  const step = await buildStep(await readModel("models/mlp.onnx"), options);
  await expect(`${printProgram(step.model)}\n`).toMatchFileSnapshot("golden/mlp.step.txt");
});

import { expect, test } from "vitest";
import { arrayDataset, crossEntropy, sgd, Trainer } from "../../src/index.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import { keepDevice, useGpu } from "../helpers/software-gpu.ts";
import { penaltyGroups, smallBatch, smallNetwork } from "../penalties/small-network.ts";

const missing = useGpu();
keepDevice(missing);
const samples = smallBatch(0, 24);
const train = arrayDataset(samples.x, Int32Array.from(samples.y), [2, 6, 6]);

async function run(texts: readonly string[], backend: string) {
  const trainer = await Trainer.create(smallNetwork(), {
    ...{ objective: crossEntropy(), optimizer: sgd(), batch: 8, learningRate: 0.01, threads: 1, backend },
    penalties: texts.map((text) => ({ ...parsePlan(text), weight: 0.01 })),
  });
  const figures: Readonly<Record<string, number>>[] = [];
  for await (const { event, loss, penalties } of trainer.fit(train, { epochs: 1 })) {
    if (event === "step") figures.push({ loss, ...penalties });
  }
  await trainer.release();
  return figures;
}

test.for(penaltyGroups.map((texts) => ({ texts, title: texts.join(" ") })))(
  "$title train on native WebGPU as on the CPU",
  async ({ texts }, context) => {
    context.skip(missing !== "", missing);
    const cpu = await run(texts, "cpu");
    const gpu = await run(texts, "webgpu");
    expect(gpu).toHaveLength(3);
    for (const [step, figures] of cpu.entries()) {
      for (const [name, value] of Object.entries(figures)) {
        const difference = Math.abs(value - (gpu[step]?.[name] ?? Number.NaN)) / Math.abs(value);
        expect(difference, `${name} in step ${step + 1}`).toBeLessThan(1e-4);
      }
    }
  },
);

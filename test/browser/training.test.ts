import { describe, expect, it } from "vitest";
import { adamw, crossEntropy, readModel, som, Trainer } from "../../src/index.ts";
import { asDataset, sampleData } from "../helpers/sample-data.ts";
import { useTab } from "./tab.ts";

declare const sorth: typeof import("../../src/web.ts");

/** Samples, samples per step and passes. A software GPU takes a second and more for 16 samples of the larger two. */
const sizes = {
  mlp: { samples: 64, batch: 16, epochs: 3 },
  cnn: { samples: 16, batch: 4, epochs: 2 },
  pointnet: { samples: 16, batch: 4, epochs: 2 },
};

async function onCpu(name: keyof typeof sizes, weight: number, learningRate: number) {
  const { samples, batch, epochs } = sizes[name];
  const trainer = await Trainer.create(await readModel(`models/${name}.onnx`), {
    ...{ objective: crossEntropy(), optimizer: adamw(), batch, learningRate },
    penalties: weight === 0 ? [] : [{ penalty: som({ lambda1: 100 }), weight }],
  });
  const data = asDataset(await sampleData(name, samples));
  const losses: number[] = [];
  for await (const event of trainer.fit(data, { epochs })) {
    if (event.event === "step") losses.push(event.loss);
  }
  const { loss } = await trainer.evaluate(data);
  await trainer.release();
  return { losses, loss };
}

describe("training in Chromium", () => {
  const tab = useTab({ keepDevice: true });
  for (const backend of ["wasm", "webgpu"]) {
    // runtime/webgpu.test.ts trains pointnet, and each model without a penalty, with the same code on native WebGPU; `npm run test:long`
    // does here too.
    const isShort = backend === "webgpu" && process.env.MODE !== "long";
    for (const name of isShort ? (["mlp", "cnn"] as const) : (["mlp", "cnn", "pointnet"] as const)) {
      // Compiling the shaders of a session anew is most of the time on a software GPU: one model shows resuming.
      const resumes = name === "mlp";
      const runs = isShort ? "with SOM" : "plain and with SOM";
      const title = `${backend} trains ${name} as node's CPU does, ${runs}${resumes ? ", and resumes" : ""}`;
      it(title, async () => {
        const { samples, batch, epochs } = sizes[name];
        const data = await sampleData(name, samples);
        // Biases in front of BatchNorm have no slope but rounding, which AdamW turns into whole steps of the learning rate.
        const learningRate = name === "mlp" ? 1e-3 : 1e-4;
        for (const weight of isShort ? [0.1] : [0, 0.1]) {
          const found = await tab.page.evaluate(
            async ({ name, backend, data, weight, learningRate, batch, epochs, resumes }) => {
              const { Trainer, som, crossEntropy, adamw, arrayDataset, readModel } = sorth;
              const file = await fetch(`/models/${name}.onnx`);
              const model = await readModel(new Uint8Array(await file.arrayBuffer()));
              const dataset = arrayDataset(Float32Array.from(data.x), Int32Array.from(data.y), data.shape);
              const penalties = weight === 0 ? [] : [{ penalty: som({ lambda1: 100 }), weight }];
              const checkpoint = `runs/${backend}/${name}/${weight}`;
              const options = {
                objective: crossEntropy(),
                optimizer: adamw(),
                penalties,
                batch,
                learningRate,
              };
              const losses: number[] = [];
              let trainer = await Trainer.create(model, { ...options, backend });
              if (resumes) {
                for await (const event of trainer.fit(dataset, { epochs: 2, checkpoint })) {
                  if (event.event === "step") losses.push(event.loss);
                }
                await trainer.release();
                trainer = await Trainer.resume(checkpoint, { backend });
              }
              for await (const event of trainer.fit(dataset, { epochs })) {
                if (event.event === "step") losses.push(event.loss);
              }
              // Out and in again, with other numbers in between: what is evaluated is what came back.
              const all = { flat: true, statistics: true } as const;
              const vector = await trainer.parameters(all);
              await trainer.setParameters(vector.map(() => 0.5));
              const isSet = (await trainer.parameters(all)).every((number) => number === 0.5);
              await trainer.setParameters(vector);
              const evaluation = await trainer.evaluate(dataset);
              await trainer.release();
              return { losses, loss: evaluation.loss, backend: trainer.backend, isSet };
            },
            { name, backend, data, weight, learningRate, batch, epochs, resumes },
          );
          const expected = await onCpu(name, weight, learningRate);
          expect(found.backend).toBe(backend);
          expect(found.isSet).toBe(true);
          expect(found.losses).toHaveLength((epochs * samples) / batch);
          for (const [step, loss] of expected.losses.entries()) {
            const difference = Math.abs((found.losses[step] ?? Number.NaN) - loss) / Math.abs(loss);
            expect(difference, `step ${step + 1}, weight ${weight}`).toBeLessThan(1e-4);
          }
          expect(Math.abs(found.loss - expected.loss) / expected.loss).toBeLessThan(1e-3);
        }
      }, 300_000);
    }
  }
});

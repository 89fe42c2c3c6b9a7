import { describe, expect, it } from "vitest";
import { arrayDataset, crossEntropy, encodeModel, sgd, Trainer } from "../../src/index.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import { penaltyGroups, smallBatch, smallNetwork } from "../penalties/small-network.ts";
import { useTab } from "./tab.ts";

declare const sorth: typeof import("../../src/web.ts");

const [batch, weight] = [8, 0.01];
const { x, y } = smallBatch(0, 3 * batch);
const model = smallNetwork();

async function onCpu(texts: readonly string[]) {
  const trainer = await Trainer.create(model, {
    ...{ objective: crossEntropy(), optimizer: sgd(), batch, learningRate: 0.01, threads: 1 },
    penalties: texts.map((text) => ({ ...parsePlan(text), weight })),
  });
  const figures: Readonly<Record<string, number>>[] = [];
  const data = arrayDataset(x, Int32Array.from(y), [2, 6, 6]);
  for await (const { event, loss, penalties } of trainer.fit(data)) {
    if (event === "step") figures.push({ loss, ...penalties });
  }
  await trainer.release();
  return figures;
}

// WebGPU there is the code of native WebGPU, on which runtime/webgpu-penalties.test.ts runs every group, and training.test.ts trains with
// SOM on it there; `npm run test:long` runs the groups on it there too.
const backends = process.env.MODE === "long" ? ["wasm", "webgpu"] : ["wasm"];

const tab = useTab({ keepDevice: backends.includes("webgpu") });

describe.each(backends)("penalties in Chromium on %s", (backend) => {
  for (const texts of penaltyGroups) {
    it(`${texts.join(" ")} train as on node's CPU`, async () => {
      const penalties = texts.map((text) => {
        const { definition, options } = parsePlan(text).penalty;
        return { name: definition.name, options };
      });
      const found = await tab.page.evaluate(
        async ({ file, x, y, penalties, backend, batch, weight }) => {
          const { Trainer, crossEntropy, sgd, arrayDataset, penaltyNamed, decodeModel } = sorth;
          const trainer = await Trainer.create(decodeModel(Uint8Array.from(file)), {
            ...{ objective: crossEntropy(), optimizer: sgd(), batch, learningRate: 0.01, backend },
            penalties: penalties.map(({ name, options }) => ({
              penalty: penaltyNamed(name, options),
              weight,
            })),
          });
          const data = arrayDataset(Float32Array.from(x), Int32Array.from(y), [2, 6, 6]);
          const figures: Record<string, number>[] = [];
          for await (const { event, loss, penalties } of trainer.fit(data)) {
            if (event === "step") figures.push({ loss, ...penalties });
          }
          await trainer.release();
          return figures;
        },
        { file: [...encodeModel(model)], x: [...x], y, penalties, backend, batch, weight },
      );
      expect(found).toHaveLength(3);
      for (const [step, figures] of (await onCpu(texts)).entries()) {
        for (const [name, value] of Object.entries(figures)) {
          const difference = Math.abs(value - (found[step]?.[name] ?? Number.NaN)) / Math.abs(value);
          expect(difference, `${name} in step ${step + 1}`).toBeLessThan(1e-4);
        }
      }
    });
  }
});

describe("an injected model in Chromium", () => {
  it("is verified, by code that is loaded for it, and stripped to the same bytes", async () => {
    const found = await tab.page.evaluate(
      async ({ file }) => {
        const { decodeModel, encodeModel, inject, strip, verify, penaltyNamed } = sorth;
        const model = decodeModel(Uint8Array.from(file));
        const penalties = ["so", "mhe", "vicreg"].map((name) => penaltyNamed(name));
        const injected = await inject(model, { penalties });
        const { checks } = await verify(model, injected);
        return { checks, stripped: [...encodeModel(strip(injected))] };
      },
      { file: [...encodeModel(model)] },
    );
    expect(found.checks.filter(({ status }) => status === "failed")).toEqual([]);
    expect(found.checks.find(({ name }) => name === "gradient of fc")?.status).toBe("passed");
    expect(found.stripped).toEqual([...encodeModel(model)]);
  });
});

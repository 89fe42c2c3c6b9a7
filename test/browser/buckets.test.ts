import { describe, expect, it } from "vitest";
import { namedDataset, Trainer } from "../../src/index.ts";
import { causalLm } from "../../src/losses/public.ts";
import { labels } from "../helpers/lcg.ts";
import { relativeError } from "../helpers/numbers.ts";
import { tokenDecoder, words } from "../helpers/token-decoder.ts";
import { useTab } from "./tab.ts";

declare const sorth: typeof import("../../src/web.ts");
declare const losses: typeof import("../../src/losses/public.ts");

const [size, most] = [16, 8];
const buckets = [4, 6, most];
const ids = labels("ids", size * most, words);
/** Texts of 2 to 8 tokens. */
const counts = ids.map((_, i) => (i % most < 2 + (Math.floor(i / most) % 7) ? 1 : 0));
const fixed = { learningRate: 0.01, batch: 2, dims: { sequence: most } };

describe("texts in buckets in Chromium", () => {
  const tab = useTab();
  for (const backend of ["wasm", "webgpu"]) {
    it(`${backend} trains as node's CPU does`, async () => {
      const column = (numbers: ArrayLike<number>) => ({ data: Int32Array.from(numbers), shape: [most] });
      const texts = namedDataset({ inputs: { input_ids: column(ids), attention_mask: column(counts) } });
      const trainer = await Trainer.create(tokenDecoder(), { ...fixed, buckets, objective: causalLm() });
      const expected: number[] = [];
      for await (const { event, loss } of trainer.fit(texts, { epochs: 2 })) {
        if (event === "step") expected.push(loss);
      }
      expected.push((await trainer.evaluate(texts)).loss);
      await trainer.release();
      const content = "import * as losses from '/dist/web/losses.js'; Object.assign(globalThis, { losses });";
      await tab.page.addScriptTag({ type: "module", content });
      await tab.page.waitForFunction("globalThis.losses");
      const found = await tab.page.evaluate(
        async ({ bytes, backend, ids, counts, most, fixed, buckets }) => {
          const { Trainer, namedDataset, readModel } = sorth;
          const { causalLm } = losses;
          const column = (numbers: number[]) => ({ data: Int32Array.from(numbers), shape: [most] });
          const texts = namedDataset({ inputs: { input_ids: column(ids), attention_mask: column(counts) } });
          const trainer = await Trainer.create(await readModel(Uint8Array.from(bytes)), {
            ...{ ...fixed, buckets, backend, objective: causalLm() },
          });
          const found: number[] = [];
          for await (const { event, loss } of trainer.fit(texts, { epochs: 2 })) {
            if (event === "step") found.push(loss);
          }
          found.push((await trainer.evaluate(texts)).loss);
          await trainer.release();
          return found;
        },
        {
          bytes: [...tokenDecoder().bytes],
          backend,
          ids: [...ids],
          counts: [...counts],
          most,
          fixed,
          buckets,
        },
      );
      expect(expected).toHaveLength(17);
      expect(relativeError(found, expected)).toBeLessThan(1e-5);
    }, 300_000);
  }
});

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeModel, encodeModel, replaceHead } from "../../src/index.ts";
import { randomInts, relativeError } from "../helpers/numbers.ts";
import { useTab } from "./tab.ts";

declare const sorth: typeof import("../../src/web.ts");
declare const losses: typeof import("../../src/losses/public.ts");

const [size, most] = [10, 12];
const buckets = [4, 7, most];
const tokens = randomInts("lengths", size, 2, most + 1);
const ids = randomInts("ids", size * most, 5, 12);
const counts = ids.map((_, at) => (at % most < (tokens[Math.floor(at / most)] ?? 0) ? 1 : 0));
const classes = randomInts("labels", size, 0, 3);
const fileText = (path: string) => readFileSync(path).toString("base64");
const decoder = "models/decoder.onnx";
const given = { ids: [...ids], counts, classes: [...classes], most, buckets };

describe("texts in Chromium", () => {
  const tab = useTab();
  const ready = async () => {
    await tab.page.waitForFunction("globalThis.sorth");
    const content = "import * as losses from '/dist/web/losses.js'; Object.assign(globalThis, { losses });";
    await tab.page.addScriptTag({ type: "module", content });
    await tab.page.waitForFunction("globalThis.losses");
  };

  for (const backend of ["wasm", "webgpu"] as const) {
    it(`${backend} evaluates and answers in buckets as at the whole length`, async () => {
      await ready();
      const found = await tab.page.evaluate(
        async ({ text, backend, given: { ids, counts, classes, most, buckets } }) => {
          const column = (numbers: number[]) => ({ data: Int32Array.from(numbers), shape: [most] });
          const data = sorth.namedDataset({
            inputs: { input_ids: column(ids), attention_mask: column(counts) },
            labels: { data: Int32Array.from(classes) },
          });
          const model = await sorth.readModel(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));
          const figures = async (more: { buckets?: number[]; onMessage?: (message: string) => void }) => {
            const how = { batch: 4, backend, ...more };
            const { loss, accuracy } = await sorth.evaluateModel(model, data, {
              ...{ ...how, objective: sorth.crossEntropy() },
            });
            const scores: number[] = [];
            for await (const one of sorth.predict(model, data, how)) scores.push(one.sample, ...one.scores);
            return [loss, accuracy ?? Number.NaN, ...scores];
          };
          const said: string[] = [];
          const onMessage = (message: string) => said.push(message);
          return { whole: await figures({}), short: await figures({ buckets, onMessage }), said };
        },
        { text: fileText("test/fixtures/hugging-face/bert.onnx"), backend, given },
      );
      expect(found.said.filter((line) => line.includes("bucket"))).toHaveLength(2);
      expect(found.whole.length).toBeGreaterThan(2 + 2 * size);
      expect(relativeError(found.short, found.whole)).toBeLessThan(1e-5);
    }, 300_000);
  }

  it("a run with adapters in buckets goes on bit for bit after a reload, from a base of 4 bits in a File", async () => {
    const train = async (epochs: number, folder: string, resumes: boolean) => {
      await ready();
      return tab.page.evaluate(
        async ({ text, epochs, folder, resumes, given: { ids, counts, most, buckets } }) => {
          const column = (numbers: number[]) => ({ data: Int32Array.from(numbers), shape: [most] });
          const data = sorth.namedDataset({
            inputs: { input_ids: column(ids), attention_mask: column(counts) },
          });
          const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
          const trainer = resumes
            ? await sorth.Trainer.resume(folder)
            : await sorth.Trainer.create(await sorth.readModel(new File([bytes], "decoder.onnx")), {
                ...{ objective: losses.causalLm(), batch: 2, buckets, lora: { rank: 2 }, backend: "wasm" },
                ...{ learningRate: 1e-3, dims: { sequence_length: most } },
              });
          const found: number[] = [];
          for await (const event of trainer.fit(data, { epochs, checkpoint: folder }))
            if (event.event === "step") found.push(event.loss);
          found.push((await trainer.evaluate(data)).loss);
          await trainer.release();
          return found;
        },
        { text: fileText(decoder), epochs, folder, resumes, given },
      );
    };
    const unbroken = await train(2, "runs/unbroken", false);
    const first = await train(1, "runs/broken", false);
    await tab.page.reload();
    const second = await train(2, "runs/broken", true);
    expect(unbroken).toHaveLength(11);
    expect([...first.slice(0, -1), ...second]).toEqual(unbroken);
  }, 300_000);

  it("a decoder with a cache gets a new head without lengths, the same as in node", async () => {
    await ready();
    const found = await tab.page.evaluate(async (text) => {
      const model = await sorth.readModel(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));
      return [...sorth.encodeModel(await sorth.replaceHead(model, { classes: 3 }))];
    }, fileText(decoder));
    const expected = encodeModel(await replaceHead(decodeModel(readFileSync(decoder)), { classes: 3 }));
    expect(Buffer.from(found).equals(Buffer.from(expected))).toBe(true);
  }, 120_000);

  it("what is no file, no model, no data and no image is named in one line", async () => {
    await ready();
    const found = await tab.page.evaluate(async (text) => {
      const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
      const any = (value: unknown) => value as never;
      const model = await sorth.readModel(bytes);
      const calls = [
        () => sorth.readModel(any("model.onnx")),
        () => sorth.readModel(any(undefined)),
        () => sorth.readModel(bytes, any({ "model.onnx.data": bytes })),
        () => sorth.readModel(bytes, new Map([["w.bin", any("w.bin")]])),
        () => sorth.Trainer.create(any(sorth.readModel(bytes)), { objective: sorth.crossEntropy() }),
        () => sorth.evaluateModel(model, any({ train: {} }), { objective: sorth.crossEntropy() }),
        () => sorth.loadImages(any([new File(["x"], "a.png")]), { shape: [1, 28, 28] }),
        () => sorth.loadImages([{ path: "a/b.png", content: new Blob() }], any(undefined)),
      ];
      const said: string[] = [];
      for (const call of calls) {
        const answer = call().then(() => "nothing", String);
        said.push(await answer);
      }
      const { size } = await sorth.readModel(any(new Response(bytes)));
      return { said, size, expected: model.size };
    }, fileText("models/mlp.onnx"));
    const words = [
      /a model is read from a File, a Blob or bytes, .*, not from the text "model.onnx"$/,
      /not from undefined$/,
      /external data are a Map .*, not an Object$/,
      /the external data file "w.bin" is read from a File.* not from the text "w.bin"$/,
      /a model is what readModel gives .*, not a promise: await it$/,
      /the parts of data together: give one of them/,
      /images are { path, content }: /,
      /images need the shape of a sample/,
    ];
    expect(found.said).toEqual(words.map((one) => expect.stringMatching(one)));
    // The answer of a fetch has bytes.
    expect(found.size).toBe(found.expected);
  }, 120_000);
});

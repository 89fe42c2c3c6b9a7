import { describe, expect, it } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/onnx/model.ts";
import { onnx } from "../../src/onnx/schema.js";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { forWorkers, ortScript } from "./browser.ts";
import { useTab } from "./tab.ts";

const [layers, width] = [4, 512];
const layerBytes = width * width * 4;

/** Four products of 1 MiB before a head, with their weights inside, and with them in a file `data/w.bin`. */
function bases(): { inline: Uint8Array; outside: Uint8Array; data: Uint8Array } {
  const b = new GraphBuilder(18);
  let x: Value = b.input("x", ["batch", width]);
  for (let i = 0; i < layers; i++) {
    const product = b.op("MatMul", [x, b.weight(`fc${i}.weight`, [width, width])], `fc${i}`);
    x = b.op("Tanh", [product], `tanh${i}`);
  }
  const head = [b.weight("head.weight", [10, width]), b.weight("head.bias", [10])];
  b.graph.addOutput(b.op("Gemm", [x, ...head], "logits", { transB: 1 }));
  const inline = Model.fromProto(graphToProto(b.graph, { irVersion: 8 })).bytes.slice();
  const proto = graphToProto(b.graph, { irVersion: 8 });
  const data = new Uint8Array(layers * layerBytes + 3);
  for (let i = 0; i < layers; i++) {
    const tensor = proto.graph?.initializer?.find(({ name }) => name === `fc${i}.weight`);
    if (!tensor?.rawData) throw new Error("no weight");
    // Not aligned, as some files are.
    const offset = 3 + i * layerBytes;
    data.set(tensor.rawData, offset);
    tensor.rawData = new Uint8Array();
    tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    tensor.externalData = Object.entries({ location: "data/w.bin", offset, length: layerBytes }).map(
      ([key, value]) => new onnx.StringStringEntryProto({ key, value: `${value}` }),
    );
  }
  return { inline, outside: Model.fromProto(proto).bytes, data };
}

/** What a run shows. */
interface Shown {
  /** Those of two epochs. LoRA in files is saved after the first, resumed, saved there again and resumed again. */
  readonly losses: number[];
  /** The losses of the model as it is given, and trained. */
  readonly before: number;
  readonly evaluated: number;
  readonly stepBytes: number;
  /** Where the exported model has its weights: names of those in a file. */
  readonly outside: string[];
  readonly exportedBytes: number;
  /** The most bytes of a file that were read at once. */
  readonly most: number;
  /** Bytes that were read to open the model, and to make a file of the trained one to download. */
  readonly opened: number;
  /** The most bytes that a session was made of, its files aside. */
  readonly session: number;
  readonly downloaded: number;
}

type Library = typeof import("../../src/web.ts");
type Given = Readonly<Record<"inline" | "outside" | "data", string>>;

/** Trains in a page or a worker. `kinds`: what is trained, where the weights lie, the backend. */
async function train(
  [sorth, ort]: readonly [Library, typeof import("onnxruntime-web/webgpu")],
  given: Given,
  kinds: readonly string[],
): Promise<Record<string, Shown>> {
  let [most, all, session] = [0, 0, 0];
  const { create } = ort.InferenceSession;
  ort.InferenceSession.create = ((...args: Parameters<typeof create>) => {
    session = Math.max(session, (args[0] as unknown as Uint8Array).length);
    return create(...args);
  }) as typeof create;
  const noteSizes = (owner: object, method: string, sizeOf: (self: Blob, given: Blob) => number) => {
    const read = Reflect.get(owner, method) as (...args: unknown[]) => unknown;
    Reflect.set(owner, method, function (this: Blob, ...args: [Blob]) {
      most = Math.max(most, sizeOf(this, args[0]));
      all += sizeOf(this, args[0]);
      return read.apply(this, args);
    });
  };
  const { FileReaderSync: Reader } = globalThis as { FileReaderSync?: { prototype: object } };
  if (Reader) noteSizes(Reader.prototype, "readAsArrayBuffer", (_, { size }) => size);
  noteSizes(Blob.prototype, "arrayBuffer", ({ size }) => size);
  const bytes = (text: string) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const file = new File([bytes(given.data)], "w.bin");
  const models = {
    inline: () => sorth.readModel(bytes(given.inline)),
    blob: () => sorth.readModel(new File([bytes(given.inline)], "base.onnx")),
    outside: () => sorth.readModel(new Blob([bytes(given.outside)]), new Map([["data/w.bin", file]])),
  };
  const forms = {
    lora: { lora: { rank: 2, include: /fc/ } },
    // One of the weights in the file is trained.
    half: { trainable: /head|fc3/ },
  };
  const x = Float32Array.from({ length: 16 * 512 }, (_, i) => Math.sin(i * 0.37));
  const labels = Int32Array.from({ length: 16 }, (_, i) => i % 10);
  const data = sorth.arrayDataset(x, labels, [512]);
  const runs: Record<string, Shown> = {};
  for (const kind of kinds) {
    const [form, place, backend] = kind.split(" ") as ["lora" | "half", keyof typeof models, "wasm"];
    [most, all, session] = [0, 0, 0];
    await models[place]();
    const opened = all;
    const losses: number[] = [];
    const { loss: before } = await sorth.evaluateModel(await models[place](), data, { batch: 4 });
    const options = { batch: 4, learningRate: 1e-3, penalties: [], seed: 3, backend, ...forms[form] };
    let trainer = await sorth.Trainer.create(await models[place](), {
      ...{ objective: sorth.crossEntropy(), ...options },
    });
    const folder = `runs/${form}`;
    const trainTo = async (epochs: number) => {
      for await (const event of trainer.fit(data, { epochs }))
        if (event.event === "step") losses.push(event.loss);
    };
    const resumes = place !== "inline" && form === "lora";
    await trainTo(resumes ? 1 : 2);
    for (let i = 0; i < 2 && resumes; i++) {
      await trainer.save(folder);
      await trainer.release();
      trainer = await sorth.Trainer.resume(folder);
    }
    if (resumes) await trainTo(2);
    const { loss: evaluated } = await trainer.evaluate(data);
    const exported = trainer.export();
    all = 0;
    const { size } = sorth.modelBlob(exported);
    if (size !== exported.size) throw new Error("the file to download has another size");
    const downloaded = all;
    const outside = (exported.proto.graph?.initializer ?? []).flatMap((one) =>
      one.externalData?.length ? (one.name ?? "") : [],
    );
    const sizes = { stepBytes: trainer.step.model.size, exportedBytes: exported.size, most };
    runs[kind] = { losses, before, evaluated, outside, ...sizes, opened, downloaded, session };
    await trainer.release();
  }
  return runs;
}

describe("external data in Chromium", () => {
  const tab = useTab();
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  const { inline, outside, data } = bases();
  const given = { inline: text(inline), outside: text(outside), data: text(data) };

  const inPage = (kinds: readonly string[]) =>
    tab.page.evaluate<Record<string, Shown>>(
      `(${train})([sorth, ort], ${JSON.stringify(given)}, ${JSON.stringify(kinds)})`,
    );

  const inWorker = (kinds: readonly string[]) =>
    tab.page.evaluate<Record<string, Shown>, readonly [string, Given, readonly string[], string, string]>(
      ([code, given, kinds, prefix, ortPath]) =>
        new Promise((resolve, reject) => {
          const script = `import * as sorth from "${location.origin}${prefix}dist/web/index.js";
            import * as ort from "${location.origin}${ortPath}";
            (${code})([sorth, ort], ${JSON.stringify(given)}, ${JSON.stringify(kinds)})
              .then(postMessage, (error) => postMessage(String(error.stack)));`;
          const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
          const worker = new Worker(url, { type: "module" });
          worker.onerror = ({ message }) => reject(new Error(message));
          worker.onmessage = ({ data }) => {
            worker.terminate();
            if (typeof data === "string") reject(new Error(data));
            else resolve(data);
          };
        }),
      [train.toString(), given, kinds, forWorkers, ortScript],
    );

  it("stays in its file in a worker: the same losses to the bit, and neither a step nor memory holds the file", async () => {
    const kinds = ["lora inline wasm", "lora outside wasm", "lora blob wasm"];
    const runs = await inWorker(kinds);
    const [own, file, blob] = kinds.map((kind) => runs[kind]) as [Shown, Shown, Shown];
    // Weights inside of the model's own file stay there too.
    const { opened, session, stepBytes } = blob;
    expect(blob).toEqual({ ...own, most: layerBytes, opened, session, stepBytes });
    expect(own.session).toBeGreaterThan(layers * layerBytes);
    expect([session < layerBytes / 16, file.session < layerBytes / 16]).toEqual([true, true]);
    expect(opened).toBeLessThan(layerBytes / 8);
    expect(file.losses).toEqual(own.losses);
    expect(file.losses).toHaveLength(8);
    expect([file.before, file.evaluated]).toEqual([own.before, own.evaluated]);
    expect(own.stepBytes).toBeGreaterThan(layers * layerBytes);
    expect(file.stepBytes).toBeLessThan(layerBytes / 16);
    // One weight at a time.
    expect(file.most).toBe(layerBytes);
    // Merged weights are new numbers: the model holds them.
    expect(file.outside).toEqual([]);
    expect(file.exportedBytes).toBe(own.exportedBytes);
    // A page reads no file synchronously: there it is in memory once, and still no part of the step.
    const there = await inPage(["half inline wasm", "half outside wasm"]);
    const [whole, page] = [there["half inline wasm"], there["half outside wasm"]] as [Shown, Shown];
    expect(page.losses).toEqual(whole.losses);
    expect([page.before, page.evaluated]).toEqual([whole.before, whole.evaluated]);
    expect(page.stepBytes).toBeLessThan(layerBytes / 16);
    expect(page.outside).toEqual(["fc0.weight", "fc1.weight", "fc2.weight"]);
    expect(page.exportedBytes).toBeLessThan(1.1 * layerBytes);
  }, 240_000);
});

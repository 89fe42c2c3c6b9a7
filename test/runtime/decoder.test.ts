import { expect, test } from "vitest";
import { decoder } from "../../models/decoder.ts";
import { namedDataset } from "../../src/data/array-dataset.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { differentiate, encodeModel, evaluateModel, Trainer } from "../../src/index.ts";
import { causalLm } from "../../src/losses/public.ts";
import { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { randomNormals } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { losses } from "./small-run.ts";

/** In the operators of onnxruntime-genai's int4 exports. */
const model = Model.fromProto(decoder().toProto());
const [samples, places] = [4, 12];
const sizes = { batch: samples, dims: { sequence_length: places } };
const text = "The fox jumps over the dog. The dog sleeps in the sun, and ";
const ids = Array.from({ length: samples * places }, (_, i) => text.charCodeAt(i));
/** The last sample ends in padding. */
const mask = ids.map((_, i) => (i >= samples * places - 4 ? 0 : 1));
const array = (numbers: readonly number[]) => ({ data: Int32Array.from(numbers), shape: [places] });
const data = namedDataset({ inputs: { input_ids: array(ids), attention_mask: array(mask) } });

const feeds = () => {
  const of = (name: string, numbers: readonly number[]) =>
    Tensor.int64(name, [samples, places], [...numbers]);
  return { input_ids: of("input_ids", ids), attention_mask: of("attention_mask", mask) };
};

/** The mean loss of the next tokens of the file itself, run by ONNX Runtime's own kernels, in double. */
async function lossOf(bytes: Uint8Array): Promise<number> {
  const caches = [0, 1].flatMap((layer) =>
    ["key", "value"].map((kind) => {
      const name = `past_key_values.${layer}.${kind}`;
      return [name, Tensor.float(name, [samples, 2, 0, 16], [])] as const;
    }),
  );
  const results = await runModel(
    bytes,
    { ...feeds(), ...Object.fromEntries(caches) },
    { outputs: ["logits"] },
  );
  const logits = results.logits?.numbers() ?? [];
  let [sum, count] = [0, 0];
  for (let i = 0; i + 1 < ids.length; i++) {
    if ((i + 1) % places === 0 || mask[i + 1] === 0) continue;
    const row = logits.slice(i * 256, (i + 1) * 256);
    const largest = Math.max(...row);
    sum +=
      largest +
      Math.log(row.reduce((total, x) => total + Math.exp(x - largest), 0)) -
      (row[ids[i + 1] ?? 0] ?? 0);
    count++;
  }
  return sum / count;
}

test("the gradient of the sample decoder is the slope of the loss that ONNX Runtime's own operators give", async () => {
  const made = await differentiate(model, { objective: causalLm(), ...sizes });
  const results = await runModel(await encodeModel(made.model), {
    ...feeds(),
    labels: Tensor.of(
      "labels",
      "int32",
      [samples, places],
      Int32Array.from(ids, (id, i) => (mask[i] ? id : -100)),
    ),
  });
  const weights = [
    "embed_tokens.weight",
    "layers.0.input_norm.weight",
    "layers.1.post_attention_norm.weight",
  ];
  const directions = new Map(
    weights.map((name) => [
      name,
      randomNormals(name, graphOf(model).valueNamed(name).initializer?.size ?? 0),
    ]),
  );
  const moved = async (step: number) => {
    const proto = decoder().toProto();
    for (const tensor of proto.graph?.initializer ?? []) {
      const direction = directions.get(tensor.name ?? "");
      const bytes = tensor.rawData;
      if (!direction || !bytes) continue;
      const numbers = new Float32Array(bytes.slice().buffer);
      tensor.rawData = new Uint8Array(numbers.map((x, i) => x + step * (direction[i] ?? 0)).buffer);
    }
    return lossOf(await encodeModel(Model.fromProto(proto)));
  };
  const central = async (step: number) => ((await moved(step)) - (await moved(-step))) / (2 * step);
  // Richardson's extrapolation: the error falls with the fourth power of the step.
  const slope = (4 * (await central(1e-3)) - (await central(2e-3))) / 3;
  const expected = weights.reduce((sum, name) => {
    const gradient = results[`${name}_grad`]?.numbers() ?? [];
    return sum + gradient.reduce((total, x, i) => total + x * (directions.get(name)?.[i] ?? 0), 0);
  }, 0);
  expect(results.loss?.numbers()[0]).toBeCloseTo(await moved(0), 5);
  expect(Math.abs(expected)).toBeGreaterThan(0.05);
  expect(Math.abs(slope / expected - 1)).toBeLessThan(5e-3);
});

test.each([
  ["its own floats", {}],
  ["adapters beside weights of 4 bits", { lora: { rank: 4, alpha: 8 } }],
] as const)("the sample decoder learns a text: %s", async (_, options) => {
  const objective = causalLm();
  const trainer = await Trainer.create(model, {
    objective,
    ...sizes,
    ...options,
    learningRate: 0.02,
    threads: 1,
  });
  const found = await losses(trainer, data, { epochs: 12 });
  const [first, last] = [found[0] ?? 0, found.at(-1) ?? 0];
  expect(first).toBeCloseTo(await lossOf(await encodeModel(model)), 4);
  expect(last).toBeLessThan(0.6 * first);
  // The exported file has its inputs still, and ONNX Runtime's attention computes what was trained.
  const exported = trainer.export();
  const { loss } = await evaluateModel(exported, data, { objective });
  expect(await lossOf(await encodeModel(exported))).toBeCloseTo(loss, 4);
  expect(loss).toBeLessThan(last);
  await trainer.release();
});

import { UsageError } from "../errors.ts";
import { tensorOf } from "../onnx/random-tensors.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";
import type { AdapterLayer, Ia3Layer } from "./adapter.ts";
import type { AdapterKind, AdapterTensors } from "./kind.ts";
import { inputsOf, type Layer } from "./layer.ts";
import { operandOf, typeOf } from "./lora.ts";

/**
 * One trained factor for each result of a layer, its bias included: l ∘ (x·Wᵀ + b); or for each of its inputs: (l ∘ x)·Wᵀ + b, as
 * the paper has it in front of the second layer of a feed-forward block. l begins with ones.
 * Source: Liu et al. 2022, arXiv 2205.05638, section 3.3; form, shapes and names as in PEFT (tuners/ia3/layer.py).
 */
export const ia3: AdapterKind = {
  name: "ia3",
  asked: { dora: false, ia3: true },
  compounds: true,
  describes: () => "factors (IA³)",

  refuses({ form, stored, bias }, { feedforward }) {
    if (form === "embedding") return "IA³ scales the results of products, and PEFT has none for embeddings";
    // Beside quantized weights the factors stay, and so does the bias.
    const isMerged = feedforward !== true && typeof stored !== "string";
    if (!isMerged || typeof bias !== "object" || !("reason" in bias)) return undefined;
    return `IA³ scales the layer's results with their bias, and ${bias.reason}`;
  },

  fresh(layer, { feedforward = false }) {
    const dims = shapeOf(layer, feedforward);
    const ones = tensorOf("", typeOf(layer), dims, Array<number>(elementCount(dims)).fill(1));
    return { [partOf(feedforward)]: ones };
  },

  check(layer, tensors) {
    const { feedforward, factors } = factorsOf(tensors);
    const wanted = shapeOf(layer, feedforward);
    if (factors.dims.join() === wanted.join()) return;
    throw new UsageError(
      `the adapter does not fit the layer "${layer.module}": its ia3_l is [${factors.dims.join(", ")}], the layer needs [${wanted.join(", ")}]`,
    );
  },

  write(writer, layer, parameters, { feedforward = false }, { base, result }) {
    const name = parameters[partOf(feedforward)] ?? "";
    const type = typeOf(layer);
    const factors =
      layer.form === "convolution" ? name : writer.reshape(name, "factors", rowOrColumn(layer, feedforward));
    const isNarrow = layer.type !== type;
    const times = (value: string, output: { output?: string } = {}) => {
      const wide = isNarrow ? writer.cast(value, type, "wide") : value;
      const scaled = writer.op("Mul", "scaled", [wide, factors], isNarrow ? {} : output);
      return isNarrow ? writer.cast(scaled, layer.type, "narrow", output) : scaled;
    };
    if (feedforward) return { [layer.input]: times(layer.input) };
    if (layer.inside) {
      const read = [1, 2].map((index) => operandOf(writer, layer, index)).filter((value) => value !== "");
      return Object.fromEntries(read.map((value) => [value, times(value)]));
    }
    times(base, { output: result });
    return undefined;
  },

  change(layer, tensors, _settings, weight, share) {
    const { feedforward, factors } = factorsOf(tensors);
    const numbers = sharesOf(factors, share);
    const before = weight();
    const fanIn = elementCount(layer.unit);
    const positions = elementCount(layer.unit.slice(1));
    const [inputs = 1] = layer.unit;
    const unitsOfGroup = layer.units / (layer.groups ?? 1);
    return before.map((number, i) => {
      const unit = Math.floor(i / fanIn);
      const input = Math.floor(unit / unitsOfGroup) * inputs + Math.floor((i % fanIn) / positions);
      const place = feedforward ? input : unit;
      return number * ((numbers[place] ?? 1) - 1);
    });
  },

  changeOfBias(tensors, bias, share) {
    const { feedforward, factors } = factorsOf(tensors);
    if (feedforward) return undefined;
    const numbers = sharesOf(factors, share);
    return bias.map((number, i) => number * ((numbers[i] ?? 1) - 1));
  },

  layerFrom(module, _alpha, { ia3_l: ofResults, ia3_l_input: ofInputs }) {
    const factors = ofResults ?? ofInputs;
    return factors && { module, factors, feedforward: !ofResults };
  },

  tensorsOf(layer) {
    const { feedforward, factors } = layer as Ia3Layer;
    return { [partOf(feedforward)]: factors };
  },

  settingsFor: (layer, common) => ({ ...common, feedforward: (layer as Ia3Layer).feedforward }),

  withoutScaling: (layer) => layer,

  optionsOf({ layers }, only) {
    const scaled = ofInputs(layers);
    return { ia3: true, ...(scaled.length > 0 && { feedforward: only(scaled) }) };
  },

  configOf: ({ layers }) => ({
    ...{ peft_type: "IA3", init_ia3_weights: true },
    feedforward_modules: ofInputs(layers).map(({ module }) => module),
  }),
};

/** The layers whose inputs are scaled. */
const ofInputs = (layers: readonly AdapterLayer[]) =>
  layers.filter((layer) => (layer as Ia3Layer).feedforward);

/** The last part of the factors' name in a model. PEFT calls both kinds, of inputs and of results, `ia3_l`. */
export const partOf = (feedforward: boolean): string => (feedforward ? "ia3_l_input" : "ia3_l");

/** The factors of a layer, and whether they scale its inputs. */
function factorsOf(tensors: AdapterTensors): {
  readonly feedforward: boolean;
  readonly factors: Tensor;
} {
  const { ia3_l: ofResults, ia3_l_input: ofInputs } = tensors;
  const factors = ofInputs ?? ofResults;
  if (factors) return { feedforward: ofInputs !== undefined, factors };
  throw new UsageError("the adapter has no factors (ia3_l)");
}

/** PEFT's shape of the factors. */
function shapeOf(layer: Layer, feedforward: boolean): number[] {
  const { form, units, unit } = layer;
  const count = feedforward ? (inputsOf(layer)[0] ?? 1) : units;
  if (form === "convolution") return [1, count, ...unit.slice(1).map(() => 1)];
  return feedforward ? [1, count] : [count, 1];
}

/** The shape in which the factors meet a matrix of inputs or results: a row, or a column where units or inputs are its rows. */
function rowOrColumn({ form, transposed, units, unit }: Layer, feedforward: boolean): number[] {
  const count = feedforward ? (unit[0] ?? 1) : units;
  const isColumn = feedforward ? (form === "left") !== transposed : form === "left";
  return isColumn ? [count, 1] : [count];
}

/**
 * The factors with which a share of the adapter acts: 1 + share·(l − 1). A share below 0 takes out what the same share above 0
 * put in.
 * @throws UsageError for a factor of 0, which nothing takes out again
 */
function sharesOf(factors: Tensor, share: number): number[] {
  return Array.from(factors.numbers(), (number) => {
    const factor = 1 + Math.abs(share) * (Number(number) - 1);
    if (share >= 0) return factor;
    if (factor !== 0) return 1 / factor;
    throw new UsageError(
      "the adapter cannot be taken out of the weights again: it has multiplied some of them by 0",
    );
  });
}

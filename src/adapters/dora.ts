import { UsageError } from "../errors.ts";
import { tensorOf } from "../onnx/random-tensors.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { AdapterKind } from "./kind.ts";
import type { Layer, StoredForm } from "./layers.ts";
import { inputOf, lora, scalingOf, typeOf, writeProduct, writeSum } from "./lora.ts";

/**
 * LoRA with the lengths of the units' weights as parameters of their own: W' = m ∘ V/‖V‖ with V = W + (alpha/rank)·BA, row by row.
 * Beside the layer: Y + (m/‖V‖ − 1) ∘ x·Wᵀ + m/‖V‖ ∘ (alpha/rank)·x·Aᵀ·Bᵀ. The norm counts as a constant of the gradient, as in
 * section 4.3 of the paper. m begins as ‖W‖.
 * Source: Liu et al. 2024, arXiv 2402.09353, equation 5; form, shapes and names as in PEFT (tuners/lora/dora.py).
 */
export const dora: AdapterKind = {
  name: "dora",
  peftType: "LORA",
  permanent: "DoRA scales the weights by their norm from before, which the merged ones do not have",

  describes: (settings) => lora.describes(settings),

  refuses({ stored }) {
    if (typeof stored === "string") return `DoRA needs the norms of the layer's weights, and ${stored}`;
    return undefined;
  },

  fresh(layer, settings, random, weight) {
    const norms = normsOf(layer, weight());
    if (norms.some((norm) => norm === 0)) {
      throw new UsageError(
        `no adapter with dora can be put beside "${layer.name}": weights of a unit are all zero, which have no direction`,
      );
    }
    return {
      ...lora.fresh(layer, settings, random, weight),
      lora_magnitude_vector: tensorOf("", typeOf(layer), magnitudeShape(layer), [...norms]),
    };
  },

  check(layer, tensors) {
    lora.check(layer, tensors);
    const { lora_magnitude_vector: magnitude } = tensors;
    const wanted = magnitudeShape(layer);
    if (magnitude?.dims.join() === wanted.join()) return;
    const found = magnitude ? `is [${magnitude.dims.join(", ")}]` : "is missing";
    throw new UsageError(
      `the adapter does not fit the layer "${layer.module}": its lora_magnitude_vector ${found}, the layer needs [${wanted.join(", ")}]`,
    );
  },

  write(writer, layer, parameters, settings, { base, result }) {
    const { lora_A: down = "", lora_B: up = "", lora_magnitude_vector: magnitude = "" } = parameters;
    const { unitsFirst, factor, operand } = layer.stored as StoredForm;
    const type = typeOf(layer);
    const isConvolution = layer.form === "convolution";
    const x = inputOf(writer, layer, settings);
    const weight = layer.type === type ? operand : writer.cast(operand, type, "weight");
    const exchanged = () => writer.transpose(weight, "weight_transposed");
    const scaling = writer.number("scaling", scalingOf(settings), type);
    const one = writer.number("one", 1, type);
    const times = (value: string, part: string) =>
      factor === 1 ? value : writer.op("Mul", part, [value, writer.number(`${part}_factor`, factor, type)]);
    const matrix = (value: string, part: string) =>
      isConvolution ? writer.reshape(value, part, [0, -1]) : value;

    const rows = isConvolution ? matrix(weight, "weight_rows") : unitsFirst ? weight : exchanged();
    const product = writer.op("MatMul", "change", [matrix(up, "lora_B_rows"), matrix(down, "lora_A_rows")]);
    const change = writer.op("Mul", "change_scaled", [product, scaling]);
    const direction = writer.op("Add", "direction", [times(rows, "weight_times"), change]);
    const norm = writer.norms(direction, "norm");
    writer.detached.push(norm);
    const shape = magnitudeShape(layer);
    let gain = writer.op("Div", "gain", [
      magnitude,
      isConvolution ? writer.reshape(norm, "norm_shaped", shape) : norm,
    ]);
    if (layer.form === "left") gain = writer.reshape(gain, "gain_column", [layer.units, 1]);

    const kept = isConvolution
      ? writer.conv(x, weight, "kept", layer.geometry ?? {})
      : layer.form === "left"
        ? writer.op("MatMul", "kept", [rows, x])
        : writer.op("MatMul", "kept", [x, unitsFirst ? exchanged() : weight]);
    const lower = writer.op("Mul", "scaled", [writeProduct(writer, layer, x, { down, up }), scaling]);
    const added = writer.op("Add", "added", [
      writer.op("Mul", "kept_scaled", [times(kept, "kept_times"), writer.op("Sub", "gained", [gain, one])]),
      writer.op("Mul", "lora_scaled", [lower, gain]),
    ]);
    writeSum(writer, layer, base, added, result);
    return undefined;
  },

  change(layer, tensors, settings, weight, share) {
    const before = weight();
    const moved = lora.change(layer, tensors, settings, weight, 1);
    for (const [i, number] of before.entries()) moved[i] = (moved[i] ?? 0) + number;
    const norms = normsOf(layer, moved);
    const lengths = tensors.lora_magnitude_vector?.numbers() ?? [];
    const fanIn = elementCount(layer.unit);
    return moved.map((number, i) => {
      const unit = Math.floor(i / fanIn);
      return share * ((number * Number(lengths[unit])) / (norms[unit] ?? 1) - (before[i] ?? 0));
    });
  },
};

/** PEFT's shape of the lengths: [out], of a convolution [1, out, 1, …]. */
const magnitudeShape = ({ form, units, unit }: Layer): number[] =>
  form === "convolution" ? [1, units, ...unit.slice(1).map(() => 1)] : [units];

/** The Euclidean norm of each unit's weights. */
function normsOf({ units, unit }: Layer, weights: Float64Array): Float64Array {
  const fanIn = elementCount(unit);
  return Float64Array.from({ length: units }, (_, i) =>
    Math.sqrt(weights.subarray(i * fanIn, (i + 1) * fanIn).reduce((sum, number) => sum + number * number, 0)),
  );
}

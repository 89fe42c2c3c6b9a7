import { scalingOf } from "../analysis/adapter-names.ts";
import { UsageError } from "../errors.ts";
import { tensorOf } from "../onnx/random-tensors.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { AdapterKind } from "./kind.ts";
import { formOf, type Layer } from "./layer.ts";
import { changedWeight, inputOf, lora, narrowed, typeOf, writeProduct, writeSum } from "./lora.ts";
import { loraLayers, matricesIn } from "./lora-layer.ts";
import type { NodeWriter } from "./node-writer.ts";
import { normsOf, packedNode } from "./weight-numbers.ts";

/**
 * LoRA with the lengths of the units' weights as parameters of their own: W' = m ∘ V/‖V‖ with V = W + (alpha/rank)·BA, row by row.
 * Beside the layer: Y + (m/‖V‖ − 1) ∘ x·Wᵀ + m/‖V‖ ∘ (alpha/rank)·x·Aᵀ·Bᵀ. The norm counts as a constant of the gradient, as in
 * section 4.3 of the paper. m begins as ‖W‖.
 * Source: Liu et al. 2024, arXiv 2402.09353, equation 5; form, shapes and names as in PEFT (tuners/lora/dora.py).
 */
export const dora: AdapterKind = {
  name: "dora",
  asked: { dora: true, ia3: false },
  ...loraLayers,
  needsNorms: true,
  permanent: "DoRA scales the weights by their norm from before, which the merged ones do not have",

  describes: (settings) => lora.describes(settings),

  refuses(layer, settings) {
    const needed = "DoRA needs the norms of the layer's weights, and";
    if (layer.groups !== undefined) return `${needed} its groups have no product B·A of their shape`;
    if (formOf(layer) || layer.packed) return lora.refuses(layer, settings);
    return `${needed} ${String(layer.stored)}`;
  },

  fresh(layer, settings, random, norms) {
    if (norms.some((norm) => norm === 0)) {
      throw new UsageError(
        `no adapter with dora can be put beside "${layer.name}": weights of a unit are all zero, which have no direction`,
      );
    }
    return {
      ...lora.fresh(layer, settings, random, norms),
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

  write(writer, layer, parameters, settings, { base, result, norms }) {
    const { down = "", up = "" } = matricesIn(parameters);
    const magnitude = parameters.lora_magnitude_vector ?? "";
    const type = typeOf(layer);
    if (layer.inside) {
      const { operand, changed } = changedWeight(writer, layer, { down, up }, settings);
      const norm = writer.norms(writer.transpose(changed, "direction"), "norm");
      writer.detached.push(norm);
      const whole = writer.op("Mul", "weight_wide", [changed, writer.op("Div", "gain", [magnitude, norm])]);
      return { [operand]: narrowed(writer, layer, whole, "weight") };
    }
    const isConvolution = layer.form === "convolution";
    const x = inputOf(writer, layer, settings);
    const scaling = writer.number("scaling", scalingOf(settings), type);
    const one = writer.number("one", 1, type);
    const { norm, kept } =
      layer.packed && layer.form !== "embedding"
        ? writePacked(writer, layer, { x, down, up }, { scaling: scalingOf(settings), norms })
        : writeDirect(writer, layer, { x, down, up }, { scaling, base });
    writer.detached.push(norm);
    let gain = writer.op("Div", "gain", [
      magnitude,
      isConvolution ? writer.reshape(norm, "norm_shaped", magnitudeShape(layer)) : norm,
    ]);
    if (layer.form === "left") gain = writer.reshape(gain, "gain_column", [layer.units, 1]);
    const lower = writer.op("Mul", "scaled", [writeProduct(writer, layer, x, { down, up }), scaling]);
    const added = writer.op("Add", "added", [
      writer.op("Mul", "kept_scaled", [kept, writer.op("Sub", "gained", [gain, one])]),
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

/** The layer's input, A and B. */
interface Operands {
  readonly x: string;
  readonly down: string;
  readonly up: string;
}

interface Written {
  /** ‖V‖ of each unit. */
  readonly norm: string;
  /** x·Wᵀ, without the bias. */
  readonly kept: string;
}

/** From the weight as the operator reads it. */
function writeDirect(
  writer: NodeWriter,
  layer: Layer,
  { x, down, up }: Operands,
  { scaling, base }: { readonly scaling: string; readonly base: string },
): Written {
  const { unitsFirst, factor, operand, dims } = formOf(layer) ?? {
    ...{ unitsFirst: false, factor: 1, operand: wholeTable(writer, layer), dims: [] },
  };
  const type = typeOf(layer);
  const wide = layer.type === type ? operand : writer.cast(operand, type, "weight");
  // A MatMul may read a matrix with axes of length 1 in front.
  const isStack = layer.form !== "convolution" && dims.length > 2;
  const weight = isStack ? writer.reshape(wide, "weight_matrix", dims.slice(-2)) : wide;
  const order = [1, 0, ...layer.unit.slice(1).map((_, axis) => axis + 2)];
  const exchanged = () => writer.transpose(weight, "weight_transposed", order);
  const times = (value: string, part: string) =>
    factor === 1 ? value : writer.op("Mul", part, [value, writer.number(`${part}_factor`, factor, type)]);
  const isConvolution = layer.form === "convolution";
  const matrix = (value: string, part: string) =>
    isConvolution ? writer.reshape(value, part, [0, -1]) : value;
  const rows = matrix(unitsFirst ? weight : exchanged(), "weight_rows");
  const product = writer.op("MatMul", "change", [matrix(up, "lora_B_rows"), matrix(down, "lora_A_rows")]);
  const change = writer.op("Mul", "change_scaled", [product, scaling]);
  const norm = writer.norms(writer.op("Add", "direction", [times(rows, "weight_times"), change]), "norm");
  if (layer.form === "embedding") {
    return { norm, kept: layer.type === type ? base : writer.cast(base, type, "kept") };
  }
  const kept = isConvolution
    ? writer.conv(x, weight, "kept", layer.geometry ?? {}, 1, layer.upward && "ConvTranspose")
    : layer.form === "left"
      ? writer.op("MatMul", "kept", [rows, x])
      : writer.op("MatMul", "kept", [x, unitsFirst ? exchanged() : weight]);
  return { norm, kept: times(kept, "kept_times") };
}

/** The whole table of an embedding whose operator dequantizes the rows that it reads. */
function wholeTable(writer: NodeWriter, layer: Layer): string {
  const { domain, opType, attributes, inputs } = packedNode(writer.graph, layer);
  const [rows = 0] = layer.unit;
  const all = writer.integers(
    "rows",
    Array.from({ length: rows }, (_, i) => i),
  );
  const names = inputs.map((input, i) => (i === 1 ? all : (input?.name ?? "")));
  return writer.op(opType, "table", names, { domain, attributes: Object.fromEntries(attributes) });
}

/**
 * Computed from products, because the operator dequantizes its weight itself and the whole weight never exists: with s the scaling,
 * ‖W + s·BA‖² = ‖W‖² + rowsum(B ∘ (2s·W·Aᵀ + s²·B·A·Aᵀ)).
 */
function writePacked(
  writer: NodeWriter,
  layer: Layer,
  { x, down, up }: Operands,
  { scaling, norms }: { readonly scaling: number; readonly norms: Float64Array },
): Written {
  const type = typeOf(layer);
  const node = packedNode(writer.graph, layer);
  const product = (data: string, part: string) => {
    const narrow = layer.type === type ? data : writer.cast(data, layer.type, `${part}_narrow`);
    // Without the bias, which is the last input.
    const inputs = [narrow, ...node.inputs.slice(1, 4).map((input) => input?.name ?? "")];
    const { domain, opType } = node;
    const y = writer.op(opType, part, inputs, { domain, attributes: Object.fromEntries(node.attributes) });
    return layer.type === type ? y : writer.cast(y, type, `${part}_wide`);
  };
  const fixed = (value: string, part: string, factor: number) =>
    writer.op("Mul", part, [value, writer.number(`${part}_factor`, factor, type)]);
  const overlap = fixed(
    writer.transpose(product(down, "norm_W"), "norm_W_rows"),
    "norm_overlap",
    2 * scaling,
  );
  const gram = writer.op("MatMul", "norm_gram", [down, writer.transpose(down, "norm_A")]);
  const own = fixed(writer.op("MatMul", "norm_B", [up, gram]), "norm_own", scaling * scaling);
  const moved = writer.op("Mul", "norm_moved", [up, writer.op("Add", "norm_both", [overlap, own])]);
  const square = writer.op("Add", "norm_square", [
    writer.numbers(
      "norm_W_squares",
      norms.map((norm) => norm * norm),
      type,
    ),
    writer.sums(moved, "norm_change"),
  ]);
  return { norm: writer.op("Sqrt", "norm", [square]), kept: product(x, "kept") };
}

/** PEFT's shape of the lengths: [out], of a convolution [1, out, 1, …]. */
const magnitudeShape = ({ form, units, unit }: Layer): number[] =>
  form === "convolution" ? [1, units, ...unit.slice(1).map(() => 1)] : [units];

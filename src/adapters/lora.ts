import { scalingOf } from "../analysis/adapter-names.ts";
import { UsageError } from "../errors.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import { tensorOf } from "../onnx/random-tensors.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { AdapterKind, AdapterTensors, LayerSettings } from "./kind.ts";
import { inputsOf, type Layer } from "./layer.ts";
import { loraLayers, matricesIn } from "./lora-layer.ts";
import type { NodeWriter } from "./node-writer.ts";

/** The type of an adapter's numbers. */
export const typeOf = (layer: Layer): DataTypeName => (layer.type === "double" ? "double" : "float");

/**
 * Y + (alpha/rank) · dropout(x) · Aᵀ · Bᵀ, with A: [rank, in] and B: [out, rank]. Beside a convolution A is a convolution of its
 * geometry to `rank` channels, and B one with a kernel of 1. A begins uniform in ±1/√fanIn (Kaiming with a = √5), B with zeros.
 * Source: Hu et al. 2021, arXiv 2106.09685, section 4.1; form and beginning as in PEFT (tuners/lora/layer.py).
 */
export const lora: AdapterKind = {
  name: "lora",
  asked: { dora: false, ia3: false },
  ...loraLayers,

  refuses({ groups = 1, inside, product }, { rank, dropout }) {
    if (inside && dropout > 0) {
      return `its product lies inside of the operator that computes "${product}", where no dropout reaches: leave dropout out, or exclude the layer`;
    }
    if (rank % groups === 0) return undefined;
    return `its ${groups} groups need a rank that is a multiple of ${groups}`;
  },

  stays: ({ groups, upward }) =>
    groups === undefined || upward
      ? undefined
      : "it is a convolution with groups: each result of the adapter reads all channels, a weight those of its group",

  describes: ({ rank }) => `adapters of rank ${rank}`,

  fresh(layer, { rank }, random) {
    const filled = (dims: readonly number[], next: () => number) =>
      tensorOf("", typeOf(layer), dims, Array.from({ length: elementCount(dims) }, next));
    const [down, up] = shapesOf(layer, rank);
    if (layer.form === "embedding") {
      const normal = filled(up, () => random.normal());
      return { lora_embedding_A: filled(down, () => 0), lora_embedding_B: normal };
    }
    const bound = 1 / Math.sqrt(elementCount(down.slice(1)));
    return { lora_A: filled(down, () => bound * (2 * random.uniform() - 1)), lora_B: filled(up, () => 0) };
  },

  check(layer, tensors) {
    const { down, up } = matricesIn(tensors);
    const wrong = (what: string) =>
      new UsageError(`the adapter does not fit the layer "${layer.module}": ${what}`);
    if (!down || !up) throw wrong("it has no A or no B");
    const rank = down.dims[0] ?? 0;
    const wanted = shapesOf(layer, rank);
    for (const [i, { dims }] of [down, up].entries()) {
      if (dims.join() === wanted[i]?.join() && rank > 0) continue;
      throw wrong(
        `${i === 0 ? "A" : "B"} is [${dims.join(", ")}], the layer needs [${wanted[i]?.join(", ")}]`,
      );
    }
  },

  write(writer, layer, parameters, settings, { base, result }) {
    const type = typeOf(layer);
    if (layer.inside) {
      const { operand, changed } = changedWeight(writer, layer, matricesIn(parameters), settings);
      return { [operand]: narrowed(writer, layer, changed, "weight") };
    }
    const y = writeProduct(writer, layer, inputOf(writer, layer, settings), matricesIn(parameters));
    const scaled = writer.op("Mul", "scaled", [y, writer.number("scaling", scalingOf(settings), type)]);
    writeSum(writer, layer, base, scaled, result);
    return undefined;
  },

  change(layer, tensors, settings, _weight, share) {
    const fanIn = elementCount(layer.unit);
    const result = new Float64Array(layer.units * fanIn);
    const rowOf = rowsOf(layer, tensors, settings, share);
    for (let unit = 0; unit < layer.units; unit++) result.set(rowOf(unit), unit * fanIn);
    return result;
  },

  rows: (layer, tensors, settings, share) => rowsOf(layer, tensors, settings, share),
};

/**
 * The shapes of A and B. A reads the channels of all groups, and each group of B its own part of the rank, as in PEFT. PEFT has none
 * for transposed convolutions; there A has the layer's groups too, so that B·A is a change of the weight.
 */
const shapesOf = (layer: Layer, rank: number): readonly [number[], number[]] => [
  [rank, ...(layer.upward ? layer.unit : inputsOf(layer))],
  [layer.units, rank / (layer.groups ?? 1), ...layer.unit.slice(1).map(() => 1)],
];

/** Gives share·(alpha/rank)·BA row by row, each time in the same array. */
function rowsOf(
  layer: Layer,
  tensors: AdapterTensors,
  settings: LayerSettings,
  share: number,
): (unit: number) => Float64Array {
  const { down, up } = matricesIn(tensors);
  const fanIn = elementCount(layer.unit);
  const row = new Float64Array(fanIn);
  if (!down || !up) return () => row;
  const [a, b] = [Float64Array.from(down.numbers()), up.numbers()];
  const { groups = 1, units } = layer;
  const rank = down.dims[0] ?? 0;
  const ranks = rank / groups;
  const factor = share * scalingOf({ ...settings, rank });
  return (unit) => {
    row.fill(0);
    const first = Math.floor((unit * groups) / units) * ranks;
    for (let r = 0; r < ranks; r++) {
      const part = factor * Number(b[unit * ranks + r]);
      if (part === 0) continue;
      const at = (first + r) * fanIn;
      for (let i = 0; i < fanIn; i++) row[i] = (row[i] as number) + part * (a[at + i] as number);
    }
    return row;
  };
}

/** What an adapter sees of the layer's input, in the type of its numbers. Indices get no dropout, as in PEFT. */
export function inputOf(writer: NodeWriter, layer: Layer, { dropout }: LayerSettings): string {
  if (layer.form === "embedding") return layer.input;
  const type = typeOf(layer);
  let x = layer.input;
  if (layer.transposed) x = writer.transpose(x, "input");
  if (layer.type !== type) x = writer.cast(x, type, "wide");
  return dropout > 0 ? writer.dropout(x, dropout) : x;
}

/** x·Aᵀ·Bᵀ. */
export function writeProduct(
  writer: NodeWriter,
  layer: Layer,
  x: string,
  { down = "", up = "" }: { readonly down?: string; readonly up?: string },
): string {
  if (layer.form === "convolution") {
    const hidden = layer.upward
      ? writer.convTranspose(x, asUpward(writer, layer, down), "lora_A", layer)
      : writer.conv(x, down, "lora_A", layer.geometry ?? {});
    return writer.conv(
      hidden,
      up,
      "lora_B",
      { kernel_shape: layer.unit.slice(1).map(() => 1) },
      layer.groups,
    );
  }
  if (layer.form === "left") {
    return writer.op("MatMul", "lora_B", [up, writer.op("MatMul", "lora_A", [down, x])]);
  }
  const rows = writer.transpose(down, "lora_A_transposed");
  const hidden =
    layer.form === "embedding"
      ? writer.op("Gather", "lora_A", [rows, x])
      : writer.op("MatMul", "lora_A", [x, rows]);
  return writer.op("MatMul", "lora_B", [hidden, writer.transpose(up, "lora_B_transposed")]);
}

/** A: [rank, in / groups, …kernel] as the weight of a transposed convolution: [in, rank / groups, …kernel]. */
function asUpward(writer: NodeWriter, { unit, groups = 1 }: Layer, down: string): string {
  const swapped = (value: string, part: string, first: number) =>
    writer.transpose(value, part, [
      ...Array.from({ length: first }, (_, axis) => axis),
      ...[first + 1, first],
      ...unit.slice(1).map((_, axis) => axis + first + 2),
    ]);
  if (groups === 1) return swapped(down, "lora_A_transposed", 0);
  const byGroup = writer.reshape(down, "lora_A_groups", [groups, -1, ...unit]);
  const [inputs = 1, ...kernel] = unit;
  return writer.reshape(swapped(byGroup, "lora_A_swapped", 1), "lora_A_transposed", [
    groups * inputs,
    -1,
    ...kernel,
  ]);
}

/**
 * The weight that an operator with its product inside reads, with what an adapter adds to it: W + (alpha/rank)·(BA)ᵀ, in the type of
 * the adapter's numbers.
 */
export function changedWeight(
  writer: NodeWriter,
  layer: Layer,
  { down = "", up = "" }: { readonly down?: string; readonly up?: string },
  settings: LayerSettings,
): { readonly operand: string; readonly changed: string } {
  const type = typeOf(layer);
  const operand = operandOf(writer, layer, 1);
  const product = writer.op("MatMul", "change", [
    writer.transpose(down, "lora_A_transposed"),
    writer.transpose(up, "lora_B_transposed"),
  ]);
  const scaled = writer.op("Mul", "scaled", [product, writer.number("scaling", scalingOf(settings), type)]);
  const wide = layer.type === type ? operand : writer.cast(operand, type, "wide");
  return { operand, changed: writer.op("Add", "sum", [wide, scaled]) };
}

/** The name of the value that a layer's operator reads as its input `index`. */
export const operandOf = ({ graph }: NodeWriter, { product }: Layer, index: number): string =>
  graph.valueNamed(product).producer?.inputs[index]?.name ?? "";

/** A value of an adapter in the layer's type. */
export const narrowed = (writer: NodeWriter, layer: Layer, value: string, part: string): string =>
  layer.type === typeOf(layer) ? value : writer.cast(value, layer.type, part);

/** The layer's result with what an adapter adds to it. */
export function writeSum(
  writer: NodeWriter,
  layer: Layer,
  base: string,
  added: string,
  result: string,
): void {
  writer.op("Add", "sum", [base, narrowed(writer, layer, added, "narrow")], { output: result });
}

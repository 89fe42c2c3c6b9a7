import { dora } from "../adapters/dora.ts";
import { ia3, partOf } from "../adapters/ia3.ts";
import type { AdapterKind } from "../adapters/kind.ts";
import type { Layer, WeightForm } from "../adapters/layer.ts";
import { lora } from "../adapters/lora.ts";
import { matricesIn } from "../adapters/lora-layer.ts";
import type { MarkedLayer } from "../adapters/mark.ts";
import { unpermutedShape } from "../adapters/weight-steps.ts";
import { scalingOf } from "../analysis/adapter-names.ts";
import type { Typed } from "../graph/emit-base.ts";
import { elementCount } from "../onnx/tensor.ts";
import { type WeightGraph, WeightGraphBuilder, type WeightSources } from "./weight-graph.ts";

type Change = (b: WeightGraphBuilder, layer: MarkedLayer, before: () => Typed) => Typed;

/** What an adapter adds to the weight of its layer, [units, fan-in], by kind: `AdapterKind.change` as a graph. */
const changes = new Map<AdapterKind, Change>([
  [lora, product],
  [
    dora,
    (b, layer, before) => {
      const { g } = b;
      const own = before();
      const moved = g.add(product(b, layer), own);
      const fanIn = elementCount(layer.unit);
      // Running sums add in order.
      const sums = g.slice(g.cumSum(g.mul(moved, moved), 1), [{ axis: 1, start: fanIn - 1, length: 1 }]);
      const lengths = b.operand("magnitude", layer.parameters.lora_magnitude_vector ?? "");
      return g.sub(g.div(g.mul(moved, g.reshape(lengths, [layer.units, 1])), g.sqrt(sums)), own);
    },
  ],
  [
    ia3,
    (b, layer, before) => {
      const { units, unit, groups = 1 } = layer;
      const [inputs = 1, ...kernel] = unit;
      const [outside, positions] = [units / groups, elementCount(kernel)];
      const isInput = layer.settings.feedforward === true;
      const shape = isInput ? [groups, 1, inputs, 1] : [groups, outside, 1, 1];
      const grouped = b.g.reshape(before(), [groups, outside, inputs, positions]);
      return b.g.mul(grouped, b.g.reshape(gain(b, layer, isInput), shape));
    },
  ],
]);

/**
 * The stored weight or bias of a layer with its adapter in it, as `foldAdapters` computes it: the same float64 operations in the same
 * order, so that the result, rounded to the weight's type, has the same bits.
 * @param stored - the tensor: that of the layer's weight, or of its bias
 */
export function adaptedWeight(
  layer: MarkedLayer,
  kind: AdapterKind,
  stored: string,
  sources: WeightSources,
): WeightGraph | undefined {
  const b = new WeightGraphBuilder(sources, stored);
  const { g } = b;
  const { dims } = sources.tensorOf(stored);
  const before = b.operand("weight", stored);
  if (stored !== layer.weight) {
    // A bias, of which IA³ scales each number.
    const added = g.mul(g.reshape(before, [layer.units]), g.reshape(gain(b, layer, false), [layer.units]));
    return kind === ia3 ? b.done(g.add(g.reshape(before, [layer.units]), added), dims) : undefined;
  }
  const form = layer.stored as WeightForm;
  const change = changes.get(kind)?.(b, layer, () => inUnits(b, layer, form, before));
  if (!change) return undefined;
  const added = g.reshape(toStored(b, layer, form, change), dims);
  return b.done(g.add(before, g.div(added, b.number(form.factor))), dims);
}

/** (alpha/rank)·B·A, [units, fan-in]: one rank after the other. */
function product(b: WeightGraphBuilder, layer: MarkedLayer): Typed {
  const { g } = b;
  const { units, unit, groups = 1, parameters, settings } = layer;
  const { down = "", up = "" } = matricesIn(parameters);
  const fanIn = elementCount(unit);
  const [lower, upper] = [b.operand("lora_A", down), b.operand("lora_B", up)];
  const [rank = 0] = lower.shape;
  const ranks = rank / groups;
  const a = g.reshape(lower, [groups, ranks, fanIn]);
  const scaled = g.mul(
    g.reshape(upper, [groups, units / groups, ranks]),
    b.number(scalingOf({ ...settings, rank })),
  );
  let sum = b.number(0);
  for (let r = 0; r < ranks; r++) {
    const row = g.slice(a, [{ axis: 1, start: r, length: 1 }]);
    sum = g.add(sum, g.mul(g.slice(scaled, [{ axis: 2, start: r, length: 1 }]), row));
  }
  return g.reshape(sum, [units, fanIn]);
}

/** l − 1 for the factors l of IA³, each of a share of 1. */
function gain(b: WeightGraphBuilder, { parameters }: MarkedLayer, isInput: boolean): Typed {
  const factors = b.operand("ia3_l", parameters[partOf(isInput)] ?? "");
  const one = b.number(1);
  return b.g.sub(b.g.add(one, b.g.sub(factors, one)), one);
}

/** The stored weight as [units, fan-in] (`weightNumbers`). */
function inUnits(b: WeightGraphBuilder, layer: Layer, form: WeightForm, stored: Typed): Typed {
  const { g } = b;
  const { steps, dims, unitsFirst, factor } = form;
  const shapes: (readonly number[])[] = [dims];
  for (const step of [...steps].reverse()) {
    const [shape = []] = shapes;
    shapes.unshift("dims" in step ? step.dims : unpermutedShape(shape, step.permutation));
  }
  let operand = g.reshape(stored, shapes[0] ?? []);
  for (const [i, step] of steps.entries()) {
    operand =
      "dims" in step ? g.reshape(operand, shapes[i + 1] ?? []) : g.transpose(operand, step.permutation);
  }
  const flat = [layer.units, elementCount(layer.unit)];
  const units = g.reshape(unitsFirst ? operand : exchanged(g, layer, operand, false), flat);
  return factor === 1 ? units : g.mul(units, b.number(factor));
}

/** [units, fan-in] in the layout of the stored weight (`toStored`). */
function toStored({ g }: WeightGraphBuilder, layer: Layer, form: WeightForm, change: Typed): Typed {
  const { steps, dims, unitsFirst } = form;
  let result = g.reshape(unitsFirst ? change : exchanged(g, layer, change, true), dims);
  for (const step of [...steps].reverse()) {
    result =
      "dims" in step
        ? g.reshape(result, step.dims)
        : g.transpose(
            result,
            step.permutation.map((_, axis) => step.permutation.indexOf(axis)),
          );
  }
  return result;
}

/** [out, in, …kernel] as [in, out, …kernel], group by group, or back. */
function exchanged(
  g: WeightGraphBuilder["g"],
  { units, unit: [inputs = 1, ...kernel], groups = 1 }: Layer,
  value: Typed,
  isByUnit: boolean,
): Typed {
  const [outside, positions] = [units / groups, elementCount(kernel)];
  const shape = isByUnit ? [groups, outside, inputs, positions] : [groups, inputs, outside, positions];
  return g.transpose(g.reshape(value, shape), [0, 2, 1, 3]);
}

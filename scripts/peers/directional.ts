import { decodeModel, encodeModel, Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import type { OwnGradient } from "./compare.ts";

/** A model's loss as a function of its initializers. */
export interface LossModel {
  /** Computes `loss` when it is run; other outputs are ignored. */
  readonly model: Model;
  readonly loss: string;
  readonly run: Run;
}

/** Comparison of a gradient with differences of the loss. */
export interface DirectionalCheck {
  /** Relative difference between ⟨gradient, d⟩ and the derivative along d. */
  readonly error: number;
  /** The error that rounding of a float32 loss alone can cause; large if a parameter hardly changes the loss. */
  readonly rounding: number;
}

/** Runs a model and gives its outputs. */
type Run = (model: Model) => Promise<ReadonlyMap<string, Tensor>>;

/** Largest relative change of the loss by a step: above the rounding of float32, and small enough for curvature. */
const inFloat32 = 4e-3;
/** The same in float64, where a step is so small that it crosses few kinks and turns no choice. */
export const inFloat64 = 1e-5;
/** Largest change of a parameter by a step, relative to its norm. */
const move = 0.1;

/**
 * Compares ⟨gradient, d⟩ with the derivative of the loss along d, by central differences at two step sizes,
 * extrapolated. Each parameter moves along its own gradient and a random direction, all of them at once. In float32 such a difference is good to about 1e-3.
 */
export async function directionalError(
  { model, loss, run }: LossModel,
  own: readonly OwnGradient[],
  change = inFloat32,
): Promise<DirectionalCheck> {
  const random = generator(1);
  let predicted = 0;
  let [direct, length] = [0, 0];
  const directions = own.map(({ value, gradient }) => {
    const slope = gradient.data as Float32Array;
    const size = norm(slope);
    const weight = norm(value.data as Float32Array) || 1;
    const noise = Float64Array.from(slope, () => random());
    const scale = norm(noise) || 1;
    const direction = noise.map(
      (x, i) => weight * ((size > 0 ? (slope[i] as number) / size : 0) + 0.5 * (x / scale)),
    );
    direction.forEach((d, i) => {
      predicted += d * (slope[i] as number);
    });
    direct = Math.max(direct, weight);
    length = Math.max(length, norm(direction) / weight);
    return direction;
  });
  if (direct === 0 || predicted === 0) return { error: Number.NaN, rounding: 0 };
  const at = async (step: number) => {
    const proto = decodeModel(encodeModel(model)).proto;
    const graph = proto.graph;
    if (!graph) throw new Error("the model has no graph");
    graph.output = (graph.output ?? []).filter(({ name }) => name === loss);
    const replaced = new Map(
      own.map(({ value }, k) => {
        const numbers = Float32Array.from(
          value.data as Float32Array,
          (number, i) => number + step * (directions[k]?.[i] as number),
        );
        return [value.name, Tensor.of(value.name, "float", value.dims, numbers).toProto()];
      }),
    );
    graph.initializer = (graph.initializer ?? []).map((tensor) => replaced.get(tensor.name ?? "") ?? tensor);
    const results = await run(Model.fromProto(proto));
    return results.get(loss)?.numbers()[0] ?? Number.NaN;
  };
  const base = Math.abs(await at(0));
  const step = Math.min((change * base) / Math.abs(predicted), move / length);
  const slopeAt = async (h: number) => ((await at(h)) - (await at(-h))) / (2 * h);
  const [wide, narrow] = [await slopeAt(step), await slopeAt(step / 2)];
  const error = Math.abs((4 * narrow - wide) / 3 - predicted) / Math.abs(predicted);
  // Two losses with an error of some units in the last place, divided by the smaller step.
  return { error, rounding: (4 * 2 ** -23 * base) / (step * Math.abs(predicted)) };
}

function norm(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] as number) ** 2;
  return Math.sqrt(sum);
}

/** Reproducible numbers in [−1, 1) (linear congruential generator of Numerical Recipes). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

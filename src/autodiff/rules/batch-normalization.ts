import { isTrainingForm } from "../../analysis/batch-norm-form.ts";
import { float, int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Node, Value } from "../../graph/node.ts";
import { allAxes, dimAt } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { RuleContext, RuleTable, Sample } from "../rule.ts";

/** ONNX's default for the attribute `epsilon`. */
const defaultEpsilon = 1e-5;

/** ONNX's default for the attribute `momentum`, the weight of the old running value. */
export const defaultMomentum = 0.9;

/** All axes except the channel axis. */
const acrossChannels = (x: Typed) => allAxes(x.shape.length).filter((axis) => axis !== 1);

/** Statistics of one batch: mean and biased variance per channel, and the centred batch. */
interface BatchStatistics {
  /** [C] */
  readonly mean: Typed;
  /** [C], biased: the sum of squares divided by the number of elements. */
  readonly variance: Typed;
  /** x − mean, of x's shape. */
  readonly centred: Typed;
}

/**
 * Batch statistics of x: [N, C, …]. The variance is the mean of squared differences, which is safe for any mean. The
 * statistics of an x are emitted once: the forward pass and the gradient share them. Those of a batch in shards are of all
 * shards together: with m and v of one shard, the variance is the mean of v + m² minus the square of the mean, in float64.
 */
export function batchStatistics(g: Emit, x: Typed): BatchStatistics {
  const axes = acrossChannels(x);
  const mean = g.once(`batch mean of ${x.name}`, () => g.reduceMean(x, axes));
  const centred = centredBy(g, x, mean);
  const variance = g.once(`batch variance of ${x.name}`, () => g.reduceMean(g.square(centred), axes));
  return g.shards === 1 ? { mean, variance, centred } : ofAllShards(g, x, { mean, variance });
}

const wideOf = ({ type }: Typed) => (type === "double" ? type : "float");

function ofAllShards(g: Emit, x: Typed, own: Omit<BatchStatistics, "centred">): BatchStatistics {
  const [m, v] = [g.cast(own.mean, "double"), g.cast(own.variance, "double")];
  const all = g.overShards(m, "mean");
  const square = g.once(`square of ${m.name}`, () => g.add(v, g.square(m)));
  const variance = g.once(`variance of all shards of ${x.name}`, () =>
    g.cast(g.max(g.sub(g.overShards(square, "mean"), g.square(all)), 0), x.type),
  );
  const mean = g.cast(all, x.type);
  return { mean, variance, centred: centredBy(g, x, mean) };
}

const centredBy = (g: Emit, x: Typed, mean: Value): Typed =>
  g.once(`${x.name} less ${mean.name}`, () => g.affine(x, { mean: g.cast(mean, x.type) }));

/** 1/√(variance + ε), [C]. */
const reciprocalDeviation = (g: Emit, variance: Value, node: Node): Typed => {
  const epsilon = node.float("epsilon", defaultEpsilon);
  return g.once(`1/deviation of ${variance.name} ${epsilon}`, () =>
    g.reciprocal(g.sqrt(g.add(variance, epsilon))),
  );
};

/** scale/√(variance + ε), [C], in x's type. The forward pass and the gradient share it. */
function factorOf(
  g: Emit,
  node: Node,
  x: Typed,
  { scale, variance }: { scale: Typed; variance: Value },
): Typed {
  const r = g.cast(reciprocalDeviation(g, variance, node), x.type);
  return g.once(`${scale.name}·${r.name}`, () => g.mul(g.cast(scale, x.type), r));
}

/** The training form in portable operators: y = (x − mean)·scale/√(variance + ε) + bias. */
export function normalizeBatch(g: Emit, node: Node, x: Typed, scale: Typed, bias: Typed): Typed {
  const { centred, variance } = batchStatistics(g, x);
  const factor = factorOf(g, node, x, { scale, variance });
  return g.affine(centred, { scale: factor, shift: g.cast(bias, x.type) });
}

function vjp(context: RuleContext, dy: Typed, g: Emit) {
  const { node } = context;
  const x = context.input(0);
  const training = isTrainingForm(node);
  const axes = acrossChannels(x);
  const centred = () => (training ? batchStatistics(g, x).centred : centredBy(g, x, context.input(3)));
  const variance = () => (training ? batchStatistics(g, x).variance : context.input(4));
  const r = () => g.cast(reciprocalDeviation(g, variance(), node), x.type);
  const factor = () => factorOf(g, node, x, { scale: context.input(1), variance: variance() });
  const sum = () => g.once(`sum over channels of ${dy.name}`, () => g.reduceSum(dy, axes));
  // Σdy·x̂, the gradient of the scale.
  const moment = () =>
    g.once(`sum over channels of ${dy.name}·${centred().name}·r`, () =>
      g.mul(r(), g.reduceSum(g.mul(dy, centred()), axes)),
    );
  // Gradients of a shard are those of its own mean loss: the mean over shards is that of the batch.
  const ofAll = (value: Typed) =>
    g.shards === 1 ? value : g.cast(g.overShards(g.cast(value, wideOf(value)), "mean"), x.type);
  // A parameter's gradient has the parameter's type, which may be wider than x's.
  const as = (index: number, gradient: Typed) => g.cast(gradient, context.input(index).type);
  // The next running statistics: m·stored + (1 − m)·the batch's.
  const momentum = node.float("momentum", defaultMomentum);
  const running = (output: number) => (training ? context.gradient(output) : undefined);
  const plus = (value: Typed, added: Typed | undefined, factor: number) =>
    added ? g.add(value, g.mul(g.cast(added, x.type), factor)) : value;
  const stored = (output: number) => {
    const gradient = running(output);
    return gradient ? () => g.mul(gradient, momentum) : null;
  };

  const dx = (): Typed => {
    const direct = g.affine(dy, { scale: factor() });
    if (!training) return direct;
    // a·dy + b·(x − mean) + c with a = scale·r, b = −a·r·Σdy·x̂/M, c = −a·Σdy/M: per channel, three passes over the data.
    const count = elementCount(axes.map((axis) => dimAt(x.shape, axis)));
    const share = (1 - momentum) / count;
    const a = g.mul(factor(), -1 / count);
    const b = plus(g.mul(g.mul(a, r()), ofAll(moment())), running(2), 2 * share);
    const c = plus(g.mul(a, ofAll(sum())), running(1), share);
    return g.add(direct, g.affine(centred(), { scale: b, shift: c }));
  };
  return [
    dx,
    () => as(1, moment()),
    () => as(2, sum()),
    // The stored statistics: the training form reads them only to update the running statistics.
    training ? stored(1) : () => as(3, g.neg(g.mul(factor(), sum()))),
    training ? stored(2) : () => as(4, g.mul(g.mul(g.mul(factor(), r()), moment()), -0.5)),
  ];
}

const parameters = (channels: number): Sample["inputs"] => [
  { shape: [channels], range: [0.5, 1.5] },
  [channels],
  [channels],
  { shape: [channels], range: [0.5, 1.5] },
];
const training = { training_mode: int(1) };

export const batchNormalization = {
  // y = (x − mean)·scale·r + bias, r = 1/√(variance + ε); in training form, mean and variance depend on x.
  BatchNormalization: {
    vjp,
    samples: [
      { inputs: [[2, 3, 4, 2], ...parameters(3)], note: "inference" },
      {
        inputs: [[3, 2], ...parameters(2)],
        attributes: { epsilon: float(0.1) },
        note: "inference, no space",
      },
      {
        inputs: [[2, 3, 4, 2], ...parameters(3)],
        attributes: training,
        outputs: 3,
        note: "training",
      },
      {
        inputs: [[3, 2, 4], ...parameters(2)],
        attributes: { ...training, momentum: float(0.3), epsilon: float(0.1) },
        outputs: 3,
        note: "training, 1-D",
      },
      {
        inputs: [[5, 2], ...parameters(2)],
        attributes: training,
        outputs: 3,
        note: "training, no space",
      },
      {
        inputs: [{ shape: [2, 2, 3, 3], range: [9, 11] }, ...parameters(2)],
        attributes: training,
        outputs: 3,
        note: "training, mean beyond the deviation",
      },
      {
        inputs: [[2, 3, 2, 2, 2], ...parameters(3)],
        attributes: training,
        outputs: 3,
        note: "training, 3-D",
      },
      { inputs: [[0, 3, 2], ...parameters(3)], note: "inference, empty batch" },
    ],
  },
} satisfies RuleTable;

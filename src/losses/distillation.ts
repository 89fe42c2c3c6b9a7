import { UsageError } from "../errors.ts";
import { int } from "../graph/attribute.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { allAxes, dimAt, type Shape } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { checkNumber, positive } from "../numbers.ts";
import { elementCount } from "../onnx/tensor.ts";
import { classAxisOf, labelShape, placeOf } from "./class-scores.ts";
import { finiteLabels } from "./elementwise.ts";
import { countedPlaces, without } from "./mask.ts";
import { computable, type Objective, withDefaults } from "./objective.ts";

/** Options of {@link distillation}. */
export interface DistillationOptions {
  /** T: both sides' scores are divided by it, so that small probabilities count more. Default 1. */
  readonly temperature?: number;
  /** The class axis of both sides: 1 (default), or −1 for the last one. */
  readonly classAxis?: 1 | -1;
  /**
   * α, above 0 and up to 1: the loss is α times the divergence from the teacher, and 1 − α times the cross-entropy with the labels
   * of the data. Below 1 it needs a teacher that is a model (the option `teacher`). Default 1: no labels.
   */
  readonly alpha?: number;
}

/**
 * Learning from a teacher (arXiv 1503.02531): T² times the divergence KL(softmax(teacher/T) ‖ softmax(prediction/T)), the mean
 * over rows (torch's `KLDivLoss` of log-probabilities, "batchmean"). The teacher is a model that runs in the same step (the
 * option `teacher` of a trainer), or labels are its scores, in the prediction's shape `[N, classes, …]`.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * const teacher = await readModel("teacher.onnx");
 * await Trainer.create(student, { teacher, objective: distillation({ temperature: 4, alpha: 0.9 }) });
 */
export function distillation(options: DistillationOptions = {}): Objective {
  const settings = withDefaults<DistillationOptions>(
    "distillation",
    { temperature: 1, classAxis: 1, alpha: 1 },
    options,
  );
  const { temperature, classAxis, alpha } = settings;
  checkNumber("temperature of the objective distillation", temperature, positive);
  if (classAxis !== 1 && classAxis !== -1) {
    throw new UsageError(`classAxis of the objective distillation must be 1 or -1, not ${classAxis}`);
  }
  if (!(alpha > 0 && alpha <= 1)) {
    throw new UsageError(`alpha of the objective distillation must be above 0 and at most 1, not ${alpha}`);
  }
  const scores = { classAxis, labelPlaces: 0, labels: "probabilities" } as const;
  const axisOf = (prediction: Shape) => {
    // Beside a teacher, a term for the labels takes the place of this option.
    if (alpha < 1) {
      throw new UsageError(
        `alpha ${alpha} of the objective distillation is for labels beside a teacher: give the teacher as a model (--teacher FILE), or leave alpha out`,
      );
    }
    return classAxisOf(prediction, scores);
  };
  return madeHere({
    name: "distillation",
    options: settings,
    activations: ["Softmax", "LogSoftmax"],
    classAxis: axisOf,
    labels: { type: "float", shape: (prediction) => labelShape(prediction, scores) },
    maskShape: (prediction) => without(prediction, axisOf(prediction)),
    maskedAxis: axisOf,
    build: (g, prediction, labels, mask) => {
      const x = computable(g, prediction);
      const axis = axisOf(x.shape);
      const places = countedPlaces(g, mask, x, axis);
      const [student, teacher] = [x, places.labels(g.cast(labels, x.type))].map((value) =>
        logProbabilities(g, g.mul(value, 1 / temperature), axis),
      ) as [LogProbabilities, LogProbabilities];
      const each = g.mul(teacher.p(), g.sub(teacher.log, student.log));
      const classes = dimAt(x.shape, axis);
      return {
        value: g.mul(places.mean(each), classes * temperature ** 2),
        gradient: () => {
          const scale = (temperature * classes) / elementCount(x.shape);
          const slope = g.mul(g.sub(student.p(), teacher.p()), scale);
          return g.cast(places.slope(slope), prediction.type);
        },
      };
    },
    injected: {
      labels: "prediction",
      axes: (prediction) => allAxes(prediction.length),
      build: (g, x, labels) => {
        const axis = axisOf(x.shape);
        const [student, teacher] = [x, labels].map((value) => {
          const divided = temperature === 1 ? value : g.mul(value, 1 / temperature);
          return g.op("LogSoftmax", [divided], x.shape, { attributes: { axis: int(axis) } });
        }) as [Typed, Typed];
        const each = g.mul(g.exp(teacher), g.sub(teacher, student));
        return g.mul(g.reduceMean(each), dimAt(x.shape, axis) * temperature ** 2);
      },
    },
    evaluate: (predictions, labels, rows, shape, mask) => {
      const axis = axisOf(shape);
      const classes = dimAt(shape, axis);
      const inner = elementCount(shape.slice(axis + 1));
      const positions = elementCount(shape.slice(1)) / classes;
      let [loss, correct, counted] = [0, 0, 0];
      for (let place = 0; place < rows * positions; place++) {
        if (mask && !((mask[place] ?? 0) > 0)) continue;
        counted += 1 / positions;
        const logs = (values: ArrayLike<number>) => {
          const own = Array.from(
            { length: classes },
            (_, c) => (values[placeOf(place, c, classes, inner)] ?? Number.NaN) / temperature,
          );
          const highest = Math.max(...own);
          const partition = own.reduce((sum, value) => sum + Math.exp(value - highest), 0);
          return own.map((value) => value - highest - Math.log(partition));
        };
        const [student, teacher] = [logs(predictions), logs(labels)];
        const divergence = teacher.reduce(
          (sum, t, c) => sum + Math.exp(t) * (t - (student[c] ?? Number.NaN)),
          0,
        );
        loss += (temperature ** 2 * divergence) / positions;
        const best = (values: readonly number[]) => values.indexOf(Math.max(...values));
        if (best(student) === best(teacher)) correct += 1 / positions;
      }
      return { loss, correct, ...(mask && { counted }) };
    },
    checkLabels: finiteLabels,
  });
}

interface LogProbabilities {
  readonly log: Typed;
  readonly p: () => Typed;
}

/** log softmax along an axis in basic operators, and the probabilities. */
export function logProbabilities(g: Emit, x: Typed, axis: number): LogProbabilities {
  const shifted = g.sub(x, g.reduceMax(x, [axis], true));
  const exponentials = g.exp(shifted);
  const partition = g.reduceSum(exponentials, [axis], true);
  const log = g.sub(shifted, g.log(partition));
  return { log, p: () => g.once(`probabilities ${log.name}`, () => g.div(exponentials, partition)) };
}

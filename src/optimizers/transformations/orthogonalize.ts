import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";
import { divisor, type NumberRange } from "../../numbers.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { defineTransformation } from "../define.ts";
import type { LayerMatrix, ParameterSpec } from "../transformation.ts";
import { lazy, Update } from "../update.ts";

/** Coefficients a, b, c of X ← a·X + (b·A + c·A²)·X, A = XXᵀ: the steepest slope at 0 (kellerjordan.github.io/posts/muon). */
const coefficients = [3.4445, -4.775, 2.0315] as const;

const defaults = {
  /** Newton-Schulz steps. */
  steps: 5,
  /** The least norm by which an update is divided. */
  epsilon: 1e-7,
  /** Whether steps have the usual size of AdamW's, 0.2·√max(rows, columns), and not √max(1, rows/columns). */
  matchAdam: true,
};
/** Torch's bound too: the graph holds the steps one after another. */
export const stepCount: NumberRange = {
  words: "a whole number from 1 to 99",
  holds: (steps) => Number.isInteger(steps) && steps >= 1 && steps < 100,
};
const ranges = { steps: stepCount, epsilon: divisor };

/**
 * Replaces the update of a layer's weight by the nearest matrix with orthonormal rows or columns, roughly: quintic Newton-Schulz
 * steps bring all its singular values near 1 (Muon). A convolution's weight is the matrix [units, inputs·kernel], of each group on
 * its own. Other parameters keep their update.
 *
 * @example
 * chain(momentum({ momentum: 0.95, nesterov: true }), orthogonalize(), scaleByLearningRate());
 */
export const orthogonalize = defineTransformation(
  {
    name: "orthogonalize",
    title: "Orthogonal updates",
    summary: "brings the singular values of a weight's update near 1 (Muon)",
    ...{ defaults, ranges },
  },
  ({ steps, epsilon, matchAdam }, own) => ({
    ...own,
    init: () => [],
    emit: (g, { parameters, updates }) => ({
      updates: updates.map((update, i) => {
        const parameter = parameters[i] as ParameterSpec;
        const { matrix, shape } = parameter;
        if (!matrix) return update;
        const form = matricesOf(shape, matrix);
        const direction = lazy(() => {
          const x = form.split(g, update.value());
          return form.join(g, times(g, newtonSchulz(g, x, steps, epsilon), scaleOf(form, matchAdam)));
        });
        return new Update(g, update.parameter, () => ({ direction }));
      }),
      state: [],
    }),
    compute: ({ parameters, updates }) => ({
      updates: updates.map((update, i) => {
        const { matrix, shape } = parameters[i] as ParameterSpec;
        if (!matrix) return [...update];
        const form = matricesOf(shape, matrix);
        const next = [...update];
        for (const places of form.places()) {
          const rows = places.map((row) => row.map((place) => update[place] ?? Number.NaN));
          const scale = scaleOf(form, matchAdam);
          for (const [r, row] of plainNewtonSchulz(rows, steps, epsilon).entries()) {
            for (const [c, value] of row.entries()) next[places[r]?.[c] ?? -1] = value * scale;
          }
        }
        return next;
      }),
      state: [],
    }),
  }),
);

/** The factor of an orthogonal update of [rows, columns]. */
const scaleOf = ({ rows, columns }: { rows: number; columns: number }, matchAdam: boolean): number =>
  matchAdam ? 0.2 * Math.sqrt(Math.max(rows, columns)) : Math.sqrt(Math.max(1, rows / columns));

/** A weight as matrices, one for each group: rows are units. */
function matricesOf(shape: Shape, { unitAxis, groups }: LayerMatrix) {
  const [first, second] = [dimAt(shape, 0), dimAt(shape, 1)];
  const kernel = elementCount(shape.slice(2));
  // Units first: [groups, units, inputs·kernel]. Units second: [groups, inputs, units, kernel].
  const [units, inputs] = unitAxis === 0 ? [first / groups, second] : [second, first / groups];
  const [rows, columns] = [units, inputs * kernel];
  const split = [groups, inputs, units, kernel];
  const turned = [groups, units, inputs, kernel];
  return {
    ...{ rows, columns },
    /** As [rows, columns], or [groups, rows, columns]. A plain matrix with units second stays as it lies: turned, it gives the same. */
    split(g: Emit, x: Typed): Typed {
      if (unitAxis === 0) return g.reshape(x, groups === 1 ? [rows, columns] : [groups, rows, columns]);
      if (groups === 1 && kernel === 1) return g.reshape(x, [inputs, units]);
      return g.reshape(g.transpose(g.reshape(x, split), [0, 2, 1, 3]), [groups, rows, columns]);
    },
    join(g: Emit, x: Typed): Typed {
      if (unitAxis === 0 || (groups === 1 && kernel === 1)) return g.reshape(x, shape);
      return g.reshape(g.transpose(g.reshape(x, turned), [0, 2, 1, 3]), shape);
    },
    /** For each group, the places of its matrix in the parameter. */
    places(): number[][][] {
      const place = (group: number, unit: number, input: number, k: number): number =>
        unitAxis === 0
          ? ((group * units + unit) * inputs + input) * kernel + k
          : ((group * inputs + input) * units + unit) * kernel + k;
      return Array.from({ length: groups }, (_, group) =>
        Array.from({ length: units }, (_, unit) =>
          Array.from({ length: columns }, (_, c) => place(group, unit, Math.floor(c / kernel), c % kernel)),
        ),
      );
    },
  };
}

/** Newton-Schulz steps on [m, n] or [groups, m, n], on the smaller side. */
function newtonSchulz(g: Emit, x: Typed, steps: number, epsilon: number): Typed {
  const [a, b, c] = coefficients;
  const norm = g.sqrt(g.reduceSum(g.square(x), [-2, -1], true));
  let y = g.div(x, g.max(norm, epsilon));
  const tall = (x.shape.at(-2) ?? 0) > (x.shape.at(-1) ?? 0);
  for (let step = 0; step < steps; step++) {
    const turned = g.transposeLast(y);
    const gram = tall ? g.matMul(turned, y) : g.matMul(y, turned);
    const polynomial = g.add(times(g, gram, b), times(g, g.matMul(gram, gram), c));
    y = g.add(times(g, y, a), tall ? g.matMul(y, polynomial) : g.matMul(polynomial, y));
  }
  return y;
}

/** x times a number, beside a product. ONNX Runtime would take a scalar there into the MatMul as a float32 attribute, wrong for float64. */
const times = (g: Emit, x: Typed, factor: number): Typed =>
  g.mul(x, x.type === "double" ? g.filled(factor, x.shape, x.type) : factor);

/** The same in float64, on rows. */
function plainNewtonSchulz(x: readonly (readonly number[])[], steps: number, epsilon: number): number[][] {
  const [a, b, c] = coefficients;
  const norm = Math.max(Math.sqrt(x.flat().reduce((sum, value) => sum + value * value, 0)), epsilon);
  const tall = x.length > (x[0]?.length ?? 0);
  let y = (tall ? transposed(x) : x).map((row) => row.map((value) => value / norm));
  for (let step = 0; step < steps; step++) {
    const gram = product(y, transposed(y));
    const square = product(gram, gram);
    const polynomial = gram.map((row, i) => row.map((value, j) => b * value + c * (square[i]?.[j] ?? 0)));
    const change = product(polynomial, y);
    y = y.map((row, i) => row.map((value, j) => a * value + (change[i]?.[j] ?? 0)));
  }
  return tall ? transposed(y) : y;
}

const transposed = (x: readonly (readonly number[])[]): number[][] =>
  (x[0] ?? []).map((_, j) => x.map((row) => row[j] ?? 0));

const product = (x: readonly (readonly number[])[], y: readonly (readonly number[])[]): number[][] =>
  x.map((row) =>
    (y[0] ?? []).map((_, j) => row.reduce((sum, value, k) => sum + value * (y[k]?.[j] ?? 0), 0)),
  );

import { SorthError } from "../../errors.ts";
import { type Attribute, float, floats, int, ints, string } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { tableOf } from "../../lookup.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { RuleContext, RuleTable, Sample } from "../rule.ts";

/** The numbers of a list attribute. */
function numbersOf(context: RuleContext, name: string): readonly number[] {
  const attribute = context.node.attributes.get(name);
  return attribute?.kind === "floats" ? attribute.value : [];
}

/** Numbers as a float32 tensor, since these operators compute in float32. */
const tensorOf = (g: Emit, shape: readonly number[], values: readonly number[]): Typed =>
  g.constant("float", shape, Float32Array.from(values));

/** Casts and reshapes a gradient to the input, which may be double although the output is float32. */
const toInput = (context: RuleContext, g: Emit, gradient: Typed): Typed =>
  g.reshape(g.cast(gradient, context.input(0).type), context.input(0).shape);

function refuse(context: RuleContext, what: string): never {
  throw new SorthError(`cannot differentiate ${context.node.op} (node "${context.node.label}") with ${what}`);
}

/** The input as a matrix [N, C]; a vector counts as one sample. */
function asRows(g: Emit, context: RuleContext): Typed {
  const x = context.input(0);
  const columns = dimAt(x.shape, -1);
  return g.reshape(g.cast(x, "float"), [elementCount(x.shape.slice(0, -1)), columns]);
}

/** The gradient of the scores before `post_transform`, given y after it: [N, E]. */
function beforeTransform(context: RuleContext, g: Emit, dy: Typed, y: Typed): Typed {
  const transform = context.node.string("post_transform", "NONE");
  if (transform === "NONE") return dy;
  if (transform === "LOGISTIC") return g.mul(g.mul(dy, y), g.sub(1, y));
  const weighted = () => g.mul(dy, y);
  if (transform === "SOFTMAX") return g.sub(weighted(), g.mul(y, g.reduceSum(weighted(), [1], true)));
  return refuse(context, `post_transform ${transform}`);
}

/** dx = ds·W of scores x·Wᵀ + b, where W has `classes` rows. */
function linearGradient(context: RuleContext, g: Emit, dy: Typed, y: Typed, classes: number): Typed {
  const columns = dimAt(context.input(0).shape, -1);
  const scores = beforeTransform(context, g, dy, y);
  return toInput(
    context,
    g,
    g.matMul(scores, tensorOf(g, [classes, columns], numbersOf(context, "coefficients"))),
  );
}

/** Gradient of Σᵢ cᵢ·k(x, sᵢ) over support vectors, or of k(x, c) if there are none. */
function kernelGradient(context: RuleContext, dy: Typed, g: Emit): Typed {
  const { node } = context;
  if (node.flag("one_class")) refuse(context, "one_class, whose result is a sign");
  if (node.string("post_transform", "NONE") !== "NONE") refuse(context, "a post_transform");
  const rows = asRows(g, context);
  const columns = dimAt(rows.shape, 1);
  const count = node.int("n_supports", 0);
  const [vectors, weights] =
    count > 0
      ? [numbersOf(context, "support_vectors"), numbersOf(context, "coefficients")]
      : [numbersOf(context, "coefficients"), [1]];
  const supports = tensorOf(g, [Math.max(count, 1), columns], vectors);
  const weighted = g.mul(g.reshape(dy, [dimAt(rows.shape, 0), 1]), tensorOf(g, [weights.length], weights));
  const products = () => g.matMul(rows, g.transposeLast(supports));
  const [gamma = 0, offset = 0, degree = 0] = numbersOf(context, "kernel_params");
  const scaled = () => g.add(g.mul(products(), gamma), offset);
  /** The gradient dx of Σ w·k(x·s), given k′. */
  const throughProduct = (derivative: Typed) => g.matMul(g.mul(weighted, derivative), supports);
  const kernel = node.string("kernel_type", "LINEAR");
  switch (kernel) {
    case "LINEAR":
      return toInput(context, g, g.matMul(weighted, supports));
    case "POLY":
      return toInput(context, g, throughProduct(g.mul(g.pow(scaled(), degree - 1), degree * gamma)));
    case "SIGMOID":
      return toInput(context, g, throughProduct(g.mul(g.sub(1, g.square(g.tanh(scaled()))), gamma)));
    case "RBF": {
      // k = e^(−γ‖x − s‖²): dx = −2γ Σ w·k·(x − s)
      const lengths = g.add(g.reduceSum(g.square(rows), [1], true), g.reduceSum(g.square(supports), [1]));
      const distances = g.sub(lengths, g.mul(products(), 2));
      const shares = g.mul(weighted, g.exp(g.mul(distances, -gamma)));
      const pull = g.sub(g.mul(rows, g.reduceSum(shares, [1], true)), g.matMul(shares, supports));
      return toInput(context, g, g.mul(pull, -2 * gamma));
    }
    default:
      return refuse(context, `kernel ${kernel}`);
  }
}

const floatOnly = "its result is float32";
const sample = (
  inputs: Sample["inputs"],
  attributes: Record<string, Attribute>,
  more: Partial<Sample> = {},
): Sample => ({
  inputs,
  attributes,
  floatOnly,
  ...more,
});
const twoClasses = {
  coefficients: floats([0.5, -1, 2, -0.5, 1, -2]),
  intercepts: floats([0.1, -0.1]),
  classlabels_ints: ints([0, 1]),
};
const threeClasses = {
  coefficients: floats([0.5, -1, 2, 0.3, 0.2, -0.7, 1, 1, -1]),
  intercepts: floats([0.1, 0.2, 0.3]),
  classlabels_ints: ints([0, 1, 2]),
};
const supportVectors = {
  n_supports: int(2),
  support_vectors: floats([0.5, -1, 2, 0.3, 0.2, -0.7]),
  coefficients: floats([1.5, -0.5]),
  rho: floats([0.2]),
};
const kernel = (name: string, ...parameters: number[]) => ({
  ...supportVectors,
  kernel_type: string(name),
  kernel_params: floats(parameters),
});

const steps = { constant: "its result changes in steps; the derivative is 0 wherever it exists" } as const;
const labels = { constant: "it maps labels to labels" } as const;
const maps = {
  refused: "it works on maps, not tensors: take the gradient of the tensor in front of it",
} as const;

/** Operators of classical machine learning (ai.onnx.ml). Their coefficients are attributes, so only inputs have gradients. */
export const classical = {
  // (x − offset)·scale
  "ai.onnx.ml.Scaler": {
    vjp: (context, dy, g) => [
      () => {
        const scale = numbersOf(context, "scale");
        return toInput(context, g, g.mul(dy, tensorOf(g, [scale.length], scale)));
      },
    ],
    samples: [
      sample([[2, 3]], { offset: floats([1, 2, 3]), scale: floats([0.5, 2, -1]) }),
      sample([[2, 3]], { offset: floats([1]), scale: floats([2]) }, { note: "one for all" }),
      sample([[3]], { offset: floats([1, 2, 3]), scale: floats([0.5, 2, -1]) }, { note: "vector" }),
    ],
    linear: true,
  },
  // x, replaced by a constant where x is the missing value (NaN, or a given number)
  "ai.onnx.ml.Imputer": {
    vjp: (context, dy, g) => [
      () => {
        const x = context.input(0);
        const missing = context.node.float("replaced_value_float", 0);
        const kept = Number.isNaN(missing) ? g.equal(x, x) : g.not(g.equal(x, missing));
        return g.where(kept, dy, 0);
      },
    ],
    samples: [
      sample([[2, 3]], { imputed_value_floats: floats([1, 2, 3]), replaced_value_float: float(Number.NaN) }),
      sample([[2, 3]], { imputed_value_floats: floats([1]), replaced_value_float: float(-9) }),
    ],
    linear: true,
  },
  // x divided by the largest element, Σ|x| or √Σx² of its row
  "ai.onnx.ml.Normalizer": {
    vjp: (context, dy, g) => [
      () => {
        const x = asRows(g, context);
        const [d, y] = [g.reshape(dy, x.shape), g.reshape(context.output(0), x.shape)];
        const sum = (values: Typed) => g.reduceSum(values, [1], true);
        const along = () => sum(g.mul(d, y));
        const norm = context.node.string("norm", "MAX");
        const signs = () => g.sub(g.indicator(g.greater(x, 0), x.type), g.indicator(g.less(x, 0), x.type));
        const local = tableOf({
          MAX: () => {
            const largest = g.reduceMax(x, [1], true);
            const attains = g.indicator(g.equal(x, largest), x.type);
            return [largest, g.mul(g.div(attains, sum(attains)), along())] as const;
          },
          L1: () => [sum(g.abs(x)), g.mul(signs(), along())] as const,
          L2: () => [g.sqrt(sum(g.square(x))), g.mul(y, along())] as const,
        } as Readonly<Record<string, () => readonly [Typed, Typed]>>)[norm];
        if (!local) return refuse(context, `norm ${norm}`);
        const [divisor, change] = local();
        // A row whose divisor is 0 stays as it is.
        const zero = g.equal(divisor, 0);
        return toInput(context, g, g.where(zero, d, g.div(g.sub(d, change), g.where(zero, 1, divisor))));
      },
    ],
    samples: [
      sample([[2, 3]], { norm: string("L2") }),
      sample([{ shape: [2, 3], range: [0.1, 1] }], { norm: string("L1") }),
      sample([{ shape: [2, 3], range: [-1, -0.1] }], { norm: string("L1") }, { note: "negative" }),
      sample([{ shape: [2, 3], range: [0.5, 2], distinct: true }], { norm: string("MAX") }),
      sample([[3]], { norm: string("L2") }, { note: "vector" }),
    ],
  },
  "ai.onnx.ml.LinearRegressor": {
    vjp: (context, dy, g) => [
      () => linearGradient(context, g, dy, context.output(0), context.node.int("targets", 1)),
    ],
    samples: [
      sample([[2, 3]], { coefficients: floats([0.5, -1, 2]), intercepts: floats([1]) }),
      sample([[4, 2]], { coefficients: floats([0.5, -1, 2, 1, 3, -2]), targets: int(3) }),
    ],
    linear: true,
  },
  // The labels have no gradient; each score has its own row of coefficients
  "ai.onnx.ml.LinearClassifier": {
    vjp: (context, _dy, g) => [
      () => {
        const scores = context.output(1);
        const columns = dimAt(context.input(0).shape, -1);
        const classes = numbersOf(context, "coefficients").length / columns;
        if (dimAt(scores.shape, -1) !== classes) {
          refuse(context, "scores of two classes from one row of coefficients");
        }
        const ds = context.gradient(1) ?? g.filled(0, scores.shape, scores.type);
        return linearGradient(context, g, ds, scores, classes);
      },
    ],
    samples: [
      sample([[2, 3]], { ...threeClasses }, { outputs: 2 }),
      sample([[2, 3]], { ...threeClasses, post_transform: string("SOFTMAX") }, { outputs: 2 }),
      sample([[2, 3]], { ...threeClasses, post_transform: string("LOGISTIC") }, { outputs: 2 }),
      sample(
        [[2, 3]],
        { ...twoClasses, post_transform: string("LOGISTIC") },
        { outputs: 2, note: "two classes" },
      ),
      sample(
        [[2, 3]],
        { ...twoClasses, post_transform: string("SOFTMAX") },
        { outputs: 2, note: "two classes" },
      ),
    ],
  },
  "ai.onnx.ml.SVMRegressor": {
    vjp: (context, dy, g) => [() => kernelGradient(context, dy, g)],
    samples: [
      sample(
        [[2, 3]],
        { coefficients: floats([0.5, -1, 2]), rho: floats([0.2]), kernel_params: floats([0, 0, 0]) },
        { note: "linear" },
      ),
      sample([[2, 3]], kernel("LINEAR")),
      sample([[2, 3]], kernel("RBF", 0.4, 0, 0)),
      sample([[2, 3]], kernel("POLY", 0.5, 1, 3)),
      sample([[2, 3]], kernel("SIGMOID", 0.3, 0.1, 0)),
    ],
  },
  // Concatenates columns
  "ai.onnx.ml.FeatureVectorizer": {
    vjp: (context, dy, g) => {
      let start = 0;
      return context.inputs.map((_, index) => {
        const x = context.input(index);
        const [from, length] = [start, dimAt(x.shape, -1)];
        start += length;
        return () => g.reshape(g.cast(g.slice(dy, [{ axis: 1, start: from, length }]), x.type), x.shape);
      });
    },
    samples: [
      sample(
        [
          [2, 3],
          [2, 1],
        ],
        { inputdimensions: ints([3, 1]) },
      ),
    ],
    linear: true,
  },
  // Gathers columns by index
  "ai.onnx.ml.ArrayFeatureExtractor": {
    vjp: (context, dy, g) => [
      () => {
        const [x, indices] = [context.input(0), context.input(1)];
        const count = elementCount(indices.shape);
        const columns = dimAt(x.shape, -1);
        const rows = elementCount(x.shape.slice(0, -1));
        const zeros = g.filled(0, [columns, rows], x.type);
        const sum = g.scatterAdd(
          zeros,
          g.reshape(indices, [count, 1]),
          g.transpose(g.reshape(dy, [rows, count])),
        );
        return g.reshape(g.transpose(sum), x.shape);
      },
      null,
    ],
    samples: [
      { inputs: [[2, 4], { shape: [1, 3], constant: [2, 0, 2] }] },
      { inputs: [[2, 2, 4], { shape: [2], constant: [3, 1] }] },
      { inputs: [[4], { shape: [1], constant: [3] }], note: "vector" },
    ],
    linear: true,
  },

  "ai.onnx.ml.Binarizer": steps,
  "ai.onnx.ml.TreeEnsemble": steps,
  "ai.onnx.ml.TreeEnsembleClassifier": steps,
  "ai.onnx.ml.TreeEnsembleRegressor": steps,
  "ai.onnx.ml.CategoryMapper": labels,
  "ai.onnx.ml.LabelEncoder": labels,
  "ai.onnx.ml.OneHotEncoder": { constant: "it makes constants of categories" },
  "ai.onnx.ml.CastMap": maps,
  "ai.onnx.ml.DictVectorizer": maps,
  "ai.onnx.ml.ZipMap": maps,
  "ai.onnx.ml.SVMClassifier": {
    refused: "its scores come from votes between pairs of classes, which change in steps",
  },
} satisfies RuleTable;

import { SorthError } from "../../../errors.ts";
import type { Emit } from "../../../graph/emit.ts";
import type { Typed } from "../../../graph/emit-base.ts";
import type { Node } from "../../../graph/node.ts";

/** A function that a recurrent operator applies to each element, and its derivative. */
export interface Activation {
  /** y = f(x). */
  value(g: Emit, x: Typed): Typed;
  /** f′(x), from x or from y, whichever is cheaper. */
  slope(g: Emit, x: Typed, y: Typed): Typed;
}

interface Kind {
  /** Default of `activation_alpha`; absent if the function has no such coefficient. */
  readonly alpha?: number;
  readonly beta?: number;
  readonly value: (g: Emit, x: Typed, alpha: number, beta: number) => Typed;
  readonly slope: (g: Emit, x: Typed, y: Typed, alpha: number, beta: number) => Typed;
}

/** The functions and default coefficients of ONNX Runtime, which takes 0 where the specification names no default. */
const kinds: Readonly<Record<string, Kind>> = {
  Relu: {
    value: (g, x) => g.relu(x),
    slope: (g, x) => g.indicator(g.greater(x, 0), x.type),
  },
  Tanh: {
    value: (g, x) => g.tanh(x),
    slope: (g, _x, y) => g.sub(1, g.square(y)),
  },
  Sigmoid: {
    value: (g, x) => g.sigmoid(x),
    slope: (g, _x, y) => g.mul(y, g.sub(1, y)),
  },
  // αx + β
  Affine: {
    alpha: 0,
    beta: 0,
    value: (g, x, alpha, beta) => g.add(g.mul(x, alpha), beta),
    slope: (g, x, _y, alpha) => g.filled(alpha, x.shape, x.type),
  },
  // x ≥ 0 ? x : αx
  LeakyRelu: {
    alpha: 0.01,
    value: (g, x, alpha) => g.where(g.less(x, 0), g.mul(x, alpha), x),
    slope: (g, x, _y, alpha) => g.where(g.less(x, 0), g.filled(alpha, x.shape, x.type), 1),
  },
  // x ≥ α ? x : 0
  ThresholdedRelu: {
    alpha: 1,
    value: (g, x, alpha) => g.where(g.less(x, alpha), g.filled(0, x.shape, x.type), x),
    slope: (g, x, _y, alpha) => g.sub(1, g.indicator(g.less(x, alpha), x.type)),
  },
  // α·tanh(βx)
  ScaledTanh: {
    alpha: 0,
    beta: 0,
    value: (g, x, alpha, beta) => g.mul(g.tanh(g.mul(x, beta)), alpha),
    slope: (g, x, _y, alpha, beta) => g.mul(g.sub(1, g.square(g.tanh(g.mul(x, beta)))), alpha * beta),
  },
  // min(1, max(0, αx + β))
  HardSigmoid: {
    alpha: 0.2,
    beta: 0.5,
    value: (g, x, alpha, beta) => g.min(g.max(g.add(g.mul(x, alpha), beta), 0), 1),
    slope: (g, _x, y, alpha) => g.mul(g.indicator(g.and(g.greater(y, 0), g.less(y, 1)), y.type), alpha),
  },
  // x ≥ 0 ? x : α(eˣ − 1)
  Elu: {
    alpha: 1,
    value: (g, x, alpha) => g.where(g.less(x, 0), g.mul(g.sub(g.exp(g.min(x, 0)), 1), alpha), x),
    slope: (g, x, y, alpha) => g.where(g.less(x, 0), g.add(y, alpha), 1),
  },
  // x / (1 + |x|), whose derivative is (1 − |y|)²
  Softsign: {
    value: (g, x) => g.div(x, g.add(g.abs(x), 1)),
    slope: (g, _x, y) => g.square(g.sub(1, g.abs(y))),
  },
  // log(1 + eˣ)
  Softplus: {
    value: (g, x) => g.softplus(x),
    slope: (g, x) => g.sigmoid(x),
  },
};

/**
 * The activations of a recurrent node, in the order of its equations (f, g, h). Each applies to values [D, …] and may use
 * another function for each direction.
 * @param defaults - names of the functions if the node gives none
 * @throws SorthError that names the node and the unknown function
 */
export function activationsOf(node: Node, directions: number, defaults: readonly string[]): Activation[] {
  const attribute = node.attributes.get("activations");
  const names =
    attribute?.kind === "strings" && attribute.value.length > 0
      ? attribute.value
      : Array.from({ length: directions }, () => defaults).flat();
  if (names.length !== directions * defaults.length) {
    throw new SorthError(
      `${node.op} node "${node.label}" has ${names.length} activations; ${directions * defaults.length} are needed`,
    );
  }
  // Only functions that have a coefficient consume one from the list.
  const [alphas, betas] = [coefficients(node, "activation_alpha"), coefficients(node, "activation_beta")];
  const all = names.map((name) => {
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
    if (!kind) {
      throw new SorthError(
        `cannot differentiate ${node.op} (node "${node.label}"): its activation ${name} is not one of ${Object.keys(kinds).join(", ")}`,
      );
    }
    const alpha = kind.alpha === undefined ? 0 : (alphas.shift() ?? kind.alpha);
    const beta = kind.beta === undefined ? 0 : (betas.shift() ?? kind.beta);
    return { key: `${name} ${alpha} ${beta}`, activation: withCoefficients(kind, alpha, beta) };
  });
  return defaults.map((_, role) => {
    const own = all.filter((_entry, index) => index % defaults.length === role);
    const [first] = own;
    const same = own.every(({ key }) => key === first?.key);
    return first && same ? first.activation : eachDirection(own.map(({ activation }) => activation));
  });
}

const coefficients = (node: Node, name: string): number[] => {
  const attribute = node.attributes.get(name);
  return attribute?.kind === "floats" ? [...attribute.value] : [];
};

const withCoefficients = (kind: Kind, alpha: number, beta: number): Activation => ({
  value: (g, x) => kind.value(g, x, alpha, beta),
  slope: (g, x, y) => kind.slope(g, x, y, alpha, beta),
});

/** Applies one activation per index of the first axis (the directions). */
function eachDirection(activations: readonly Activation[]): Activation {
  const part = (g: Emit, x: Typed, index: number) => g.slice(x, [{ axis: 0, start: index, length: 1 }]);
  return {
    value: (g, x) =>
      g.concat(
        activations.map((activation, i) => activation.value(g, part(g, x, i))),
        0,
      ),
    slope: (g, x, y) =>
      g.concat(
        activations.map((activation, i) => activation.slope(g, part(g, x, i), part(g, y, i))),
        0,
      ),
  };
}

/** f(clip(x)), the form in which recurrent operators compute every gate. */
export function clipped(activation: Activation, clip: number | undefined): Activation {
  if (clip === undefined) return activation;
  const inside = (g: Emit, x: Typed) => g.min(g.max(x, -clip), clip);
  return {
    value: (g, x) => activation.value(g, inside(g, x)),
    slope: (g, x, y) =>
      g.mul(activation.slope(g, inside(g, x), y), g.indicator(g.less(g.abs(x), clip), x.type)),
  };
}

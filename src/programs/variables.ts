import { hiddenValues, innerValues } from "../analysis/inner-values.ts";
import { namesOfValue } from "../analysis/known-names.ts";
import { matchesAny } from "../analysis/name-patterns.ts";
import { typedOrHidden } from "../analysis/obstacle.ts";
import { untrainable } from "../analysis/other-layers.ts";
import type { Readings } from "../analysis/readings.ts";
import { SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";

/** Options that say what a model is differentiated with respect to. */
export interface VariableOptions {
  /**
   * Only gradients of what the pattern matches: parameters (by their names and those of the layers that read them), and inputs
   * and inner values whose name it matches from beginning to end (`^relu5$`). If no parameter matches, a part of the name is
   * enough, also for other float initializers.
   */
  readonly wrt?: RegExp;
  /** Also gradients of the model's float inputs whose name matches (for gradient penalties, saliency, adversarial examples). */
  readonly wrtInputs?: RegExp;
  /** Receives remarks for the user. */
  readonly onMessage?: (message: string) => void;
}

/** Where variables are looked for: a model's graph, before bodies are written out. */
export interface VariableSource {
  readonly graph: Graph;
  readonly parameters: readonly Value[];
  /** Other float initializers. */
  readonly constants: readonly Value[];
  readonly readings: Readings;
}

/** What a model is differentiated with respect to. */
export interface Variables {
  /** Parameters, other initializers and inputs, in this order. */
  readonly given: readonly Value[];
  /** Values that nodes compute. */
  readonly inner: readonly Value[];
}

/** Chooses the variables. @throws UsageError when a pattern matches nothing that can be one */
export function chooseVariables(source: VariableSource, options: VariableOptions): Variables {
  const { graph, parameters, constants } = source;
  const { wrt, wrtInputs } = options;
  const floats = graph.inputs.filter(({ type, initializer }) => isFloat(type) && !initializer);
  const asked = floats.filter(({ name }) => wrtInputs && matchesAny(wrtInputs, [name]));
  if (wrtInputs && asked.length === 0) {
    throw new UsageError(`no input of floats matches ${wrtInputs}; those inputs are ${listOf(floats)}`);
  }
  if (wrt) {
    const { given, inner } = matching(source, wrt, floats, options);
    return { given: [...given, ...asked.filter((input) => !given.includes(input))], inner };
  }
  if (parameters.length + asked.length > 0) return { given: [...parameters, ...asked], inner: [] };
  throw new UsageError(
    `no initializer looks like a parameter${untrainable(graph)}; ${
      constants.length > 0
        ? `others are ${listOf(constants)}: name those that are variables (--wrt)`
        : "name inputs or inner values (--wrt)"
    }`,
  );
}

const listOf = (values: readonly Value[]) => values.map(({ name }) => name).join(", ") || "none";

function matching(
  { graph, parameters, constants, readings }: VariableSource,
  wrt: RegExp,
  inputs: readonly Value[],
  { onMessage }: VariableOptions,
): Variables {
  const named = (values: readonly Value[]) =>
    values.filter((value) => matchesAny(wrt, namesOfValue(value, readings)));
  const computed = innerValues(graph);
  const values = computed.map(({ value }) => value);
  const [chosen, others] = [named(parameters), named(constants)];
  const exact = (list: readonly Value[]) => list.filter(({ name }) => isExact(wrt, name));
  const found = { given: [...chosen, ...exact(inputs)], inner: exact(values) };
  if (found.given.length + found.inner.length > 0) {
    // A wide pattern means parameters; constants would be noise among them.
    if (others.length > 0) {
      onMessage?.(
        `${wrt} also matches ${listOf(others)}, not taken for parameters: name them alone, or add them (--trainable +PATTERN)`,
      );
    }
    const left = [...inputs, ...values].filter(({ name }) => isWhole(wrt, name) && !isExact(wrt, name));
    if (left.length > 0 && !matchesAny(wrt, ["~"])) {
      onMessage?.(
        `${wrt} is also the name of ${listOf(left)}: write the pattern from ^ to $ for the gradient of the value itself`,
      );
    }
    return found;
  }
  const whole = (list: readonly Value[]) => list.filter(({ name }) => isWhole(wrt, name));
  const wholly = { given: [...whole(others), ...whole(inputs)], inner: whole(values) };
  if (wholly.given.length + wholly.inner.length > 0) return wholly;
  if (others.length > 0) return { given: others, inner: [] };
  const parts = {
    given: inputs.filter(({ name }) => matchesAny(wrt, [name])),
    inner: computed.flatMap(({ value, names }) => (matchesAny(wrt, names) ? [value] : [])),
  };
  if (parts.given.length + parts.inner.length > 0) return parts;
  const [hidden] = hiddenValues(graph, wrt);
  if (hidden) {
    throw new SorthError(
      `"${hidden.name}" is computed in ${hidden.place}, whose values exist only while it runs: name a value that it returns`,
    );
  }
  throw new UsageError(
    `no parameter matches ${wrt}, and no input or inner value; the parameters are ${listOf(parameters)}, other initializers ${listOf(constants)}, inputs ${listOf(inputs)}; sorth-onnx tap --list shows the inner values`,
  );
}

/** Whether a pattern matches a name from its beginning to its end. */
function isWhole(pattern: RegExp, name: string): boolean {
  const flags = pattern.flags.replace(/[gy]/g, "");
  return new RegExp(`^(?:${pattern.source})$`, flags).test(name);
}

/** Whether a pattern is anchored at a name: it matches the name, and no longer one. */
const isExact = (pattern: RegExp, name: string): boolean =>
  matchesAny(pattern, [name]) && !matchesAny(pattern, [`~${name}`, `${name}~`]);

/**
 * Refuses inner values without a gradient.
 * @param names - theirs, in the model
 */
export function checkInner(names: readonly string[], values: readonly Value[]): void {
  values.forEach((value, i) => {
    const name = names[i] ?? value.name;
    if (!value.producer) {
      throw new SorthError(
        `"${name}" depends on no data and on no parameter: it is a constant, which has no gradient`,
      );
    }
    const { type } = typedOrHidden(value);
    if (!isFloat(type)) throw new SorthError(`"${name}" is ${type}: only floats have gradients`);
  });
}

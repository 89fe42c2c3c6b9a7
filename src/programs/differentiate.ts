import type { Probe } from "../analysis/probe.ts";
import { hasQuantized } from "../analysis/quantized.ts";
import { typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { setApart } from "../graph/set-apart.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import type { Model } from "../onnx/model.ts";
import { poolBeforeRelu } from "../passes/training/pool-before-relu.ts";
import { type DropoutMask, replaceDropout } from "../passes/training/replace-dropout.ts";
import { stillStatistics } from "../passes/training/still-statistics.ts";
import type { JacobianOptions, Named } from "./jacobian-products.ts";
import { stepOptionNames } from "./option-names.ts";
import type { LossOptions } from "./options.ts";
import { constantWeight } from "./penalty-graph.ts";
import { prepare, withLoss } from "./prepare.ts";
import type { Program } from "./program.ts";
import { checkInner, chooseVariables, type VariableOptions, type Variables } from "./variables.ts";

/** Options of {@link differentiate}. */
export interface DifferentiateOptions extends LossOptions, VariableOptions, JacobianOptions {}

const optionNames = {
  ...stepOptionNames,
  ...{ wrt: "pattern", wrtInputs: "pattern", vjp: "flag", jvp: "flag", jacobian: "flag", of: "list" },
} as const satisfies OptionNames<DifferentiateOptions>;

/** A gradient graph and what it computes. */
export interface GradientModel {
  /**
   * Inputs as the model, `labels` with an objective, seeds with `vjp` and tangents with `jvp`, a mask per training-mode Dropout;
   * outputs the loss or the differentiated outputs, then gradients, products or Jacobians.
   */
  readonly model: Model;
  /** Name of the loss output; empty with `vjp`, `jvp` and `jacobian`, which differentiate no loss. */
  readonly loss: string;
  /** Maps the name of a parameter, input or inner value to the name of its gradient output; empty with `jvp` and `jacobian`. */
  readonly gradients: ReadonlyMap<string, string>;
  /** With `vjp`, maps the name of a differentiated output to the name of the input that is its seed. */
  readonly seeds: ReadonlyMap<string, string>;
  /** With `jvp`, maps the name of a parameter, input or inner value to the name of the input that is its tangent. */
  readonly tangents: ReadonlyMap<string, string>;
  /** With `jvp`, maps the name of a differentiated output to the name of the output that is its tangent. */
  readonly products: ReadonlyMap<string, string>;
  /** With `jacobian`, maps the name of a parameter, input or inner value to the name of the output that is its Jacobian. */
  readonly jacobians: ReadonlyMap<string, string>;
  /** Maps the name of a mask input to the ratio of its Dropout. */
  readonly masks: ReadonlyMap<string, number>;
}

/** Writes the gradient of a loss, or products with a Jacobian, as a graph. `Library.differentiate` documents it. */
export async function differentiate(
  model: Model,
  given: DifferentiateOptions,
  probe: Probe,
): Promise<GradientModel> {
  checkKnown("differentiate", given, optionNames);
  const products =
    given.vjp || given.jvp || given.jacobian || given.of ? await import("./jacobian-products.ts") : undefined;
  const options = products ? given : await withLoss(model, given);
  const product = products?.productOf({ ...options });
  const chosen = await chosenProgram(model, options, probe, (graph) =>
    products && product ? products.differentiatedOutputs(graph, options.of) : [],
  );
  const { program, masks } = chosen;
  const maps = {
    ...{ seeds: new Map<string, string>(), tangents: new Map<string, string>() },
    ...{ gradients: new Map<string, string>(), products: new Map<string, string>() },
    jacobians: new Map<string, string>(),
    masks: new Map(masks.map(({ input, ratio }) => [input.name, ratio])),
  };
  if (!products || !product) {
    const loss = program.loss(constantWeight(program.prepared, options));
    const variables = variablesOf(chosen);
    const gradients = await program.gradients(loss, valuesOf(variables));
    program.dropOutputs();
    const total = program.output(loss.total, "loss");
    nameGradients(program, variables, gradients, maps.gradients);
    return { ...maps, model: await finished(program, options.onMessage), loss: total.name };
  }
  const outputs = products.typedOutputs(chosen.names.outputs, chosen.outputs);
  const variables = variablesOf(chosen);
  program.dropOutputs();
  if (product === "vjp") {
    const { seeds, gradients } = await products.addVectorJacobian(program, outputs, valuesOf(variables));
    nameOutputs(program, outputs);
    nameGradients(program, variables, gradients, maps.gradients);
    for (const { name, value } of outputs) maps.seeds.set(name, seeds.get(value)?.name ?? "");
  } else if (product === "jacobian") {
    const output = products.onlyOutput(outputs);
    const { addJacobians } = await import("./jacobian-loop.ts");
    const found = await addJacobians(program, output, variables);
    nameOutputs(program, outputs);
    for (const { name, value } of variables) {
      const jacobian = found.get(value);
      if (jacobian) maps.jacobians.set(name, program.output(jacobian, `${name}_jacobian`).name);
    }
  } else {
    const found = await products.addJacobianVector(program, outputs, variables);
    nameOutputs(program, outputs);
    for (const { name, value } of outputs) {
      const tangent = found.products.get(value);
      if (tangent) maps.products.set(name, program.output(tangent, `${name}_tangent`).name);
    }
    for (const { name, value } of variables) maps.tangents.set(name, found.tangents.get(value)?.name ?? "");
  }
  return { ...maps, model: await finished(program, options.onMessage), loss: "" };
}

/** A prepared model with the values that its derivative is about. */
interface ChosenProgram {
  readonly program: Program;
  readonly masks: readonly DropoutMask[];
  readonly given: readonly Value[];
  readonly inner: readonly Value[];
  readonly outputs: readonly Value[];
  /** Names of values that preparation may have renamed. */
  readonly names: { readonly inner: readonly string[]; readonly outputs: readonly string[] };
}

/** Prepares a model. BatchNormalization and Dropout stay as the file has them. */
async function chosenProgram(
  model: Model,
  options: DifferentiateOptions,
  probe: Probe,
  outputsOf: (graph: Program["graph"]) => readonly Value[],
): Promise<ChosenProgram> {
  let variables: Variables = { given: [], inner: [] };
  let outputNames: readonly string[] = [];
  let innerNames: readonly string[] = [];
  const program = await prepare(model, options, probe, {
    passes: [poolBeforeRelu()],
    choose: (source) => {
      variables = chooseVariables(source, options);
      const outputs = outputsOf(source.graph);
      outputNames = outputs.map(({ name }) => name);
      innerNames = variables.inner.map(({ name }) => name);
      return {
        constants: variables.given.filter((value) => source.constants.includes(value)),
        values: [...variables.inner, ...outputs],
      };
    },
  });
  const { graph } = program;
  const { held } = program.prepared;
  const inner = held.slice(0, innerNames.length);
  checkInner(innerNames, inner);
  // A Dropout is replaced by its product, or by its input.
  for (const value of new Set(held)) if (value.producer?.op === "Dropout") setApart(graph, value);
  graph.outputs.push(...held);
  const masks = await program.run(replaceDropout({ mode: "as-is" }));
  const now = graph.outputs.splice(graph.outputs.length - held.length);
  return {
    ...{ program, masks, given: variables.given },
    ...{ inner: now.slice(0, inner.length), outputs: now.slice(inner.length) },
    names: { inner: innerNames, outputs: outputNames },
  };
}

/** The variables, each inner one apart from the operator that computes it, which rewrites for the gradient may merge with others. */
function variablesOf({ program: { graph }, given, inner, names }: ChosenProgram): Named[] {
  for (const value of new Set(inner)) setApart(graph, value);
  return [
    ...given.map((value) => ({ name: value.name, value: typed(value) })),
    ...inner.map((value, i) => ({ name: names.inner[i] ?? value.name, value: typed(value) })),
  ];
}

const valuesOf = (named: readonly Named[]): Value[] => named.map(({ value }) => value);

/** Makes the differentiated outputs outputs of the graph. */
function nameOutputs(program: Program, outputs: readonly Named[]): void {
  for (const { name, value } of outputs) program.output(value, name);
}

/** Makes gradients outputs; a variable without one has zeros. */
function nameGradients(
  program: Program,
  variables: readonly Named[],
  gradients: ReadonlyMap<Value, Value>,
  names: Map<string, string>,
): void {
  for (const { name, value } of variables) {
    const { shape, type } = value;
    const gradient = gradients.get(value) ?? program.emit.filled(0, shape, type);
    names.set(name, program.output(typed(gradient), `${name}_grad`).name);
  }
}

async function finished(program: Program, tell: LossOptions["onMessage"]): Promise<Model> {
  const { computeOnce } = await import("../passes/cleanup/compute-once.ts");
  const passes = [...(await program.recomputation()), computeOnce(), stillStatistics()];
  const model = await program.finish({ passes });
  if (hasQuantized(program.graph)) {
    const { roundingText } = await import("../analysis/runtime-faults.ts");
    for (const fault of roundingText(program.graph)) tell?.(fault);
  }
  return model;
}

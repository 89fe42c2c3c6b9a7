import { typedOrHidden } from "../analysis/obstacle.ts";
import { forward } from "../autodiff/forward.ts";
import { listed, SorthError, UsageError } from "../errors.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Program } from "./program.ts";

/** Options of a product with the Jacobian of outputs with respect to variables, in the place of the gradient of a loss. */
export interface JacobianOptions {
  /**
   * Vector-Jacobian products, as torch.func.vjp: each output y gets an input `y_seed` of its shape, and each variable x the
   * output `x_grad` = Σ over the outputs of yseedᵀ · ∂y/∂x.
   */
  readonly vjp?: boolean;
  /**
   * Jacobian-vector products, as torch.func.jvp: each variable x gets an input `x_tangent` of its shape, and each output y the
   * output `y_tangent` = Σ over the variables of ∂y/∂x · xtangent.
   */
  readonly jvp?: boolean;
  /**
   * Whole Jacobians, as torch.func.jacrev: for one output y, each variable x gets the output `x_jacobian` = ∂y/∂x of the shape
   * [...y.shape, ...x.shape]. It runs one vector-Jacobian product for each number of y, in a Loop, so y should be small.
   */
  readonly jacobian?: boolean;
  /** The values y, outputs or inner ones; default: all float outputs of the model, of which `jacobian` takes a single one. */
  readonly of?: readonly string[];
}

const productNames = ["vjp", "jvp", "jacobian"] as const;
type Product = (typeof productNames)[number];

/** The product that options ask for. @throws UsageError for several, and for what belongs to the gradient of a loss */
export function productOf(
  options: JacobianOptions & { readonly [name: string]: unknown },
): Product | undefined {
  const [product, other] = productNames.filter((name) => options[name]);
  if (product && other) {
    throw new UsageError(`--${product} and --${other} are two graphs: ask for one of them`);
  }
  if (!product) {
    if (options.of === undefined) return undefined;
    throw new UsageError(
      "outputs to differentiate (--of) belong to --vjp, --jvp and --jacobian; a loss is chosen by --objective or --loss",
    );
  }
  const beside = ofLosses.filter(([name]) => options[name] !== undefined);
  if (beside.length > 0) {
    throw new UsageError(
      `--${product} differentiates outputs of the model, and no loss: leave ${beside.map(([, flag]) => flag).join(", ")} out (--of names the outputs)`,
    );
  }
  if (product !== "vjp" && options.recompute) {
    throw new UsageError(`--recompute belongs to gradients, not to --${product}: leave it out`);
  }
  return product;
}

/** Options that choose a loss, and their flags. */
const ofLosses = [
  ["objective", "--objective"],
  ["loss", "--loss"],
  ["output", "--prediction"],
  ["penalties", "penalties"],
] as const;

/** The values whose Jacobian is asked for. @throws UsageError for a name that the graph lacks */
export function differentiatedOutputs(graph: Graph, of: readonly string[] | undefined): Value[] {
  if (of === undefined) {
    const floats = graph.outputs.filter(({ type }) => type === undefined || isFloat(type));
    if (floats.length > 0) return floats;
    throw new SorthError("the model has no output of floats, which alone have derivatives");
  }
  if (of.length === 0) throw new UsageError("no output is named: give at least one, or leave the list out");
  return [...new Set(of)].map((name) => {
    const value = graph.value(name);
    if (value?.producer) return value;
    if (value) throw new UsageError(`"${name}" is computed by no node, so it is no output (--of)`);
    const names = graph.outputs.map((output) => output.name);
    throw new UsageError(`the model has no value "${name}"; its outputs are ${listed(names)}`);
  });
}

/** A value with the name that it has in the model. */
export interface Named {
  readonly name: string;
  readonly value: Typed;
}

/** Values with their types and shapes. @throws SorthError for one that is no float, or whose shape is not known */
export function typedOutputs(names: readonly string[], values: readonly Value[]): Named[] {
  return values.map((value, i) => {
    const name = names[i] ?? value.name;
    const found = typedOrHidden(value);
    if (!isFloat(found.type))
      throw new SorthError(`"${name}" is ${found.type}: only floats have derivatives`);
    return { name, value: found };
  });
}

/** The output of a Jacobian. @throws UsageError for several */
export function onlyOutput(outputs: readonly Named[]): Named {
  const [first, second] = outputs;
  if (first && !second) return first;
  throw new UsageError(
    `a Jacobian is that of one output: name it (--of), one of ${outputs.map(({ name }) => name).join(", ")}`,
  );
}

/** An input for each value, of its type and shape, named after it. */
function inputsLike(program: Program, values: readonly Named[], suffix: string): Map<Value, Typed> {
  return new Map(
    values.map(({ name, value }) => [value, program.input(`${name}_${suffix}`, value.type, value.shape)]),
  );
}

/** Adds the vector-Jacobian product. @returns the seeds by output, and the gradients by variable */
export async function addVectorJacobian(
  program: Program,
  outputs: readonly Named[],
  wrt: readonly Value[],
): Promise<{ readonly seeds: Map<Value, Typed>; readonly gradients: Map<Value, Typed> }> {
  const seeds = inputsLike(program, outputs, "seed");
  const names = new Map(outputs.map(({ name, value }) => [value, name]));
  const entering = [...seeds].map(([value, seed]) => ({
    ...{ name: names.get(value as Typed) ?? value.name, value },
    gradient: () => seed,
  }));
  const gradients = await program.gradients({ seeds: entering }, wrt);
  return { seeds, gradients };
}

/** Adds the Jacobian-vector product. @returns the tangents by variable, and the products by output */
export async function addJacobianVector(
  program: Program,
  outputs: readonly Named[],
  variables: readonly Named[],
): Promise<{ readonly tangents: Map<Value, Typed>; readonly products: Map<Value, Typed> }> {
  const { graph, emit } = program;
  const tangents = inputsLike(program, variables, "tangent");
  const products = await forward(graph, {
    ...{ emit, tangents, outputs },
    backward: (seeds, wrt) => program.gradients({ seeds }, wrt),
  });
  return { tangents, products };
}

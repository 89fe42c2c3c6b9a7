import { stepPrefix } from "../analysis/block-nodes.ts";
import { declaredBatchAxis, fedInputs } from "../analysis/dimensions.ts";
import { messageOf, SorthError, UsageError } from "../errors.ts";
import { Emit } from "../graph/emit.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { choosePrediction } from "../losses/prediction.ts";
import { isLossModel, type NamedTerm } from "../losses/terms.ts";
import { expandModel, liftParameters } from "../passes/expansion/expand-model.ts";
import type { PassContext } from "../passes/pass.ts";
import { toInferenceGraph } from "./inference-graph.ts";
import { joinGraph } from "./join-graph.ts";
import type { LossOptions } from "./options.ts";
import type { PreparedGraph } from "./prepared-graph.ts";

/** Names of inputs that take labels, as losses of frameworks call them. */
const labelName = /^(y|y_?true|labels?|targets?|ground_?truth|classes)$/i;

/**
 * Makes losses that are models part of a graph: their nodes under new names, in inference form, their inputs joined with the
 * model's outputs or added as inputs for labels and targets.
 * @throws SorthError for a loss that cannot be brought to the opset of the graph; UsageError for one that reads no output
 */
export async function addLossModels(
  graph: Graph,
  terms: readonly NamedTerm[],
  options: LossOptions,
  context: PassContext & { readonly target: number },
): Promise<Pick<PreparedGraph, "lossModels" | "lossInputs">> {
  const lossModels = new Map<string, Value>();
  const lossInputs: Value[] = [];
  for (const term of terms) {
    if (!isLossModel(term.objective)) continue;
    try {
      const loss = await lossGraph(term.objective.model, options, context);
      const joined = join(graph, loss, term, options);
      lossModels.set(term.name, joined.output);
      lossInputs.push(...joined.added.filter((input) => !lossInputs.includes(input)));
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new SorthError(`the loss ${term.objective.name}: ${messageOf(error)}`, { cause: error });
    }
  }
  return { lossModels, lossInputs };
}

/** The graph of a loss in the form for gradients. */
async function lossGraph(
  model: Parameters<typeof graphOf>[0],
  { dims = {} }: LossOptions,
  { target, probe, onMessage }: PassContext & { readonly target: number },
): Promise<Graph> {
  const graph = graphOf(model);
  const { external } = model;
  liftParameters(graph, {}, external);
  for (const input of [...graph.inputs]) if (input.initializer) graph.removeInput(input);
  const context = { emit: new Emit(graph, { prefix: stepPrefix }), probe, onMessage };
  const dimensions = { dims: knownDims(graph, dims), open: true };
  await expandModel(graph, { target, dimensions, keep: new Set(), ...(external && { external }) }, context);
  toInferenceGraph(graph);
  return graph;
}

/** The lengths that the inputs of a loss have names for. */
function knownDims(graph: Graph, dims: Readonly<Record<string, number>>): Record<string, number> {
  const names = new Set(graph.inputs.flatMap(({ declared = [] }) => declared));
  return Object.fromEntries(Object.entries(dims).filter(([name]) => names.has(name)));
}

/** Copies the nodes of a loss into a graph. @returns its first output there, and the inputs that were added */
function join(
  graph: Graph,
  loss: Graph,
  term: NamedTerm,
  options: LossOptions,
): { readonly output: Value; readonly added: readonly Value[] } {
  const { joined, added } = joinInputs(graph, loss, term, options);
  const [output] = loss.outputs;
  if (!output) throw new UsageError(`the loss ${term.name} has no output`);
  if (loss.inputs.includes(output)) throw new UsageError(`the loss ${term.name} returns one of its inputs`);
  const at = joinGraph(graph, loss, {
    ...{ joined, prefix: `${stepPrefix}${term.name}/` },
    constant: (tensor, name) => tensor.moved(name),
  });
  return { output: at(output), added };
}

/** The value of the graph for each input of a loss. */
function joinInputs(
  graph: Graph,
  loss: Graph,
  term: NamedTerm,
  options: LossOptions,
): { readonly joined: ReadonlyMap<Value, Value>; readonly added: readonly Value[] } {
  const joined = new Map<Value, Value>();
  const outputs = new Map(graph.outputs.map((value) => [value.name, value]));
  for (const input of loss.inputs) {
    const output = outputs.get(input.name);
    if (output) joined.set(input, output);
  }
  const read = [...joined.values()].map(({ name }) => name);
  if (joined.size === 0 || (term.output !== undefined && !read.includes(term.output))) {
    const open = loss.inputs.filter((input) => !joined.has(input));
    const first = open.find(({ name }) => !labelName.test(name));
    if (!first) {
      const list = (values: readonly Value[]) => values.map(({ name }) => name).join(", ") || "none";
      throw new UsageError(
        read.length > 0
          ? `the loss ${term.objective.name} reads ${read.join(", ")} by name, and none of its inputs is left for "${term.output}": leave output (--prediction) out`
          : `the loss ${term.objective.name} reads no output of the model: its inputs are ${list(loss.inputs)}, the model's outputs ${list(graph.outputs)}; give an input the name of the output that it reads`,
      );
    }
    const { value } = choosePrediction(graph, { name: term.objective.name }, term.output);
    options.onMessage?.(`the loss ${term.objective.name}: its input "${first.name}" reads "${value.name}"`);
    joined.set(first, value);
  }
  const added: Value[] = [];
  const given = fedInputs(graph);
  const open = loss.inputs.filter((input) => !joined.has(input));
  for (const input of open) {
    // "labels=NAME" names the array of the only input for labels.
    const labels = term.labels !== undefined && (open.length === 1 || labelName.test(input.name));
    const name = labels ? (term.labels ?? input.name) : input.name;
    const own = graph.inputs.find((value) => value.name === name);
    joined.set(input, own ?? addTarget(graph, input, name, given));
    const there = joined.get(input);
    if (!own && there) added.push(there);
  }
  return { joined, added };
}

/** An input for labels or another target, with as many samples as the data. */
function addTarget(graph: Graph, input: Value, name: string, data: readonly Value[]): Value {
  const axis = declaredBatchAxis(input);
  const first = data[0];
  const samples = first?.declared?.[declaredBatchAxis(first)];
  const open = typeof input.declared?.[axis] !== "number";
  const declared = input.declared?.map((dim, at) =>
    at === axis && open && samples !== undefined ? samples : dim,
  );
  const holder = graph.value(name);
  if (holder?.producer) graph.rename(holder, graph.freshName(`${stepPrefix}output/${name}`));
  return graph.addInput(name, input.type, undefined, declared);
}

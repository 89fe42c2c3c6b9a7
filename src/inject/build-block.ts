import { blockPrefix, originalPrefix, ownNames, penaltyOutput } from "../analysis/block-nodes.ts";
import type { Site } from "../analysis/site-types.ts";
import {
  isSeeded,
  type Mark,
  type MarkedObjective,
  type MarkedPattern,
  type MarkedPenalty,
  type MarkedSite,
  randomVersion,
} from "../block/mark.ts";
import { listed, SorthError, UsageError } from "../errors.ts";
import { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { shapeText } from "../graph/shapes.ts";
import { computable, type Objective, type ObjectiveOptions } from "../losses/objective.ts";
import { choosePrediction } from "../losses/prediction.ts";
import { objectiveNamed, objectiveNames } from "../losses/table.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { type FoundLayers, penaltyParts, sumOverSites } from "../penalties/assemble.ts";
import type { BuildOptions } from "../penalties/build.ts";
import { type ResolvedPlan, tellSchedules } from "../penalties/plan.ts";
import { gradientsOf } from "./block-gradients.ts";
import { addedObjective, checkedPlans, type InjectOptions } from "./options.ts";
import { numbersOf, repeatInner } from "./reach-functions.ts";

/** The nodes that were added to a graph, and the changes to its own loss. */
export interface BuiltBlock {
  /** In topological order. */
  readonly nodes: readonly Node[];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly mark: Omit<Mark, "file">;
  /** w · ∂R/∂value of the responses and parameters that {@link BlockContext.gradientOf} chose. */
  readonly gradients: ReadonlyMap<Value, Typed>;
}

/** The graph-dependent options of a block. */
interface BlockContext {
  /**
   * Whether the block also computes the gradient of w·R with respect to a value; default no. It is asked about every response
   * that a penalty acts on and every parameter that a penalty reads itself. No gradient goes through a response to parameters.
   */
  readonly gradientOf?: (value: Value, site: Site) => boolean;
  /** The model's own names that look like a block's; default: found in the graph. */
  readonly kept?: readonly string[];
  /** Values inside functions, which no node of the file can read: the block computes them again. Default: none. */
  readonly inner?: ReadonlySet<Value>;
  /** Supplies random numbers; default: constants. */
  readonly draw?: (g: Emit) => NonNullable<BuildOptions["draw"]>;
}

/**
 * Adds the block to an inferred graph.
 * @throws SorthError if no layer takes a penalty or the loss does not fit; UsageError for wrong options
 */
export function buildBlock(
  graph: Graph,
  found: FoundLayers,
  options: InjectOptions,
  { gradientOf, inner = noValues, draw, kept: names }: BlockContext = {},
): BuiltBlock {
  const { plans, weight: w } = checkedPlans(options);
  const tell = options.onMessage ?? (() => {});
  if (options.loss !== undefined || options.objective !== undefined) tellSchedules(plans, tell);
  const first = graph.nodes.length;
  const kept = names ?? ownNames(graph);
  // Constants are nodes, because in old files every new initializer would also have to be an input.
  const g = new Emit(graph, { prefix: blockPrefix, constants: "nodes", openShapes: true });
  const parts = penaltyParts(g, plans, found, {
    ...{ checked: true, refuse: unreadableName, tell },
    ...(draw && { draw: draw(g) }),
  });
  const { total: sum, sites } = sumOverSites(g, parts);
  // With one site the sum is that site's own scalar, which has another name.
  const total = sum.producer === sites[0]?.value.producer ? g.identity(sum) : sum;
  const addPenalty = (loss: Typed): Typed =>
    g.add(loss, g.cast(w === 1 ? total : g.mul(total, w), loss.type));

  const block = new Set(graph.nodes.slice(first));
  const gradients = gradientOf ? gradientsOf(g, parts, { block, weight: w, gradientOf }) : new Map();
  const loss = options.loss === undefined ? undefined : replaceLoss(graph, options.loss, addPenalty);
  const objective = addedObjective(options);
  const added = objective && emitObjective(g, objective, options.output);
  if (added?.remark) tell(added.remark);
  const objectiveSum = added && addPenalty(added.value);

  // Outputs are named last; otherwise a later node of the block could take a name that becomes free.
  const penalty = renamed(graph, total, penaltyOutput);
  const perSite = options.perSite
    ? sites.map(({ site, value }) => renamed(graph, value, `${penaltyOutput}/${site.name}`))
    : [];
  const objectiveLoss = objectiveSum && renamed(graph, objectiveSum, "loss");

  const outputs = [penalty, ...perSite, ...(objectiveLoss ? [objectiveLoss] : [])];
  for (const output of outputs) graph.addOutput(output);
  const emitted = graph.nodes.slice(first);
  const { nodes: repeated, copies } = repeatInner(g, emitted, inner);
  return {
    nodes: needed(
      [...repeated, ...emitted],
      [...outputs, ...(loss ? [loss.total] : []), ...gradients.values()],
    ),
    gradients,
    inputs: added ? [added.labels] : [],
    outputs,
    mark: {
      version: 1,
      ...(plans.some(({ penalty }) => isSeeded(penalty)) && { random: randomVersion }),
      penalty: penalty.name,
      penalties: plans.map(markedPlan),
      sites: sites.map(({ site, labels, value }) => ({
        ...{ name: site.name, penalties: labels, value: value.name, ...innerOf(site, copies) },
      })),
      perSite: perSite.map(({ name }) => name),
      ...(kept.length > 0 && { kept }),
      ...(loss && { loss: { name: loss.total.name, original: loss.original.name } }),
      ...(objective &&
        added &&
        objectiveLoss && {
          objective: {
            ...markedLoss(objective),
            prediction: added.prediction.name,
            labels: added.labels.name,
            output: objectiveLoss.name,
          },
        }),
    },
  };
}

const noValues: ReadonlySet<Value> = new Set();

/** The numbers of a layer inside a function, and what the block calls them. */
function innerOf(site: Site, copies: ReadonlyMap<Value, Value>): Pick<MarkedSite, "inner"> {
  const names = numbersOf(site).flatMap((value) => {
    const copy = copies.get(value);
    return copy ? [[value.name, copy.name] as const] : [];
  });
  return names.length > 0 ? { inner: Object.fromEntries(names) } : {};
}

function markedPlan({ penalty, weight, include, exclude, schedule }: ResolvedPlan): MarkedPenalty {
  const pattern = ({ source, flags }: RegExp): MarkedPattern => ({ source, flags });
  return {
    ...{ name: penalty.definition.name, options: penalty.options, weight },
    ...(include && { include: pattern(include) }),
    ...(exclude && { exclude: pattern(exclude) }),
    ...(typeof schedule === "string" && { schedule }),
  };
}

/** A loss as its name and the options that differ from the defaults. */
function markedLoss({ name, options }: Objective): Pick<MarkedObjective, "name" | "options"> {
  const usual: ObjectiveOptions = objectiveNames.includes(name) ? objectiveNamed(name).options : {};
  // In plain JavaScript, a caller's own loss may have no options.
  const own = Object.entries(options ?? {}).filter(([key, value]) => value !== usual[key]);
  return { name, ...(own.length > 0 && { options: Object.fromEntries(own) }) };
}

/** Renames an emitted value; a name that is taken gets the block's prefix. Its node keeps its name, which marks it as the block's. */
function renamed(graph: Graph, value: Typed, name: string): Typed {
  const { producer } = value;
  const nodeName = producer?.name ?? "";
  graph.rename(value, graph.value(name) ? graph.freshName(`${blockPrefix}${name}`) : name);
  if (producer) graph.nameNode(producer, nodeName);
  return value;
}

/** Detects names that are not UTF-8: they were read as U+FFFD, so a new node cannot refer to them. */
function unreadableName({ response }: Site): string | undefined {
  return response.name.includes("\ufffd") ? "the name of its output is not valid UTF-8" : undefined;
}

/** Replaces an output of the model by itself plus something, under the same name. */
function replaceLoss(
  graph: Graph,
  name: string,
  addTo: (loss: Typed) => Typed,
): { total: Typed; original: Value } {
  const original = graph.outputs.find((output) => output.name === name);
  if (!original) {
    const names = listed(graph.outputs.map((output) => output.name));
    throw new UsageError(`the model has no output "${name}" to use as its loss; it has ${names}`);
  }
  const { producer, type, shape } = original;
  if (!producer) throw new SorthError(`the output "${name}" is no loss: no node computes it`);
  if (!isFloat(type) || !shape || elementCount(shape) !== 1) {
    const found = `${type ?? "of an unknown type"} ${shapeText(shape)}`;
    throw new SorthError(`the output "${name}" is no loss: it is ${found}, not one float`);
  }
  const inBody = [...original.uses].find(({ index }) => index < 0);
  if (inBody) {
    throw new SorthError(
      `the loss "${name}" is read inside a body of node "${inBody.node.label}"; export the model with an Identity before that output`,
    );
  }
  const total = addTo(typed(original));
  graph.rename(original, graph.freshName(`${originalPrefix}${name}`));
  renamed(graph, total, name);
  graph.outputs.splice(graph.outputs.indexOf(original), 1, total);
  return { total, original };
}

/** The nodes on which the values depend, in order. */
function needed(nodes: readonly Node[], values: readonly Value[]): Node[] {
  const own = new Set(nodes);
  const live = new Set<Node>();
  const open = values.flatMap(({ producer }) => producer ?? []);
  for (let node = open.pop(); node; node = open.pop()) {
    if (!own.has(node) || live.has(node)) continue;
    live.add(node);
    for (const input of [...node.inputs, ...node.captures]) if (input?.producer) open.push(input.producer);
  }
  return nodes.filter((node) => live.has(node));
}

interface AddedLoss {
  /** Scalar, mean over the batch, in the prediction's type (float32 for half types). */
  readonly value: Typed;
  /** The added input. Its declared dimensions are those of the prediction; free ones stay free. */
  readonly labels: Typed;
  readonly prediction: Typed;
  /** A remark for the user. */
  readonly remark: string | undefined;
}

/**
 * Adds a loss in standard operators of the model's own opset that ONNX Runtime's training tools can differentiate. If the
 * model ends in the Softmax or Sigmoid that the loss applies itself, the loss reads the value in front of it.
 *
 * @param output - the value to compare with labels, an output or an inner value; default: the first float output
 * @throws UsageError if the model has no such value, or the loss has no form for files; SorthError if the value does not fit
 * the loss.
 */
function emitObjective(g: Emit, objective: Objective, output: string | undefined): AddedLoss {
  const { name, injected } = objective;
  if (!injected) {
    throw new UsageError(
      `the objective "${name}" has no form for injected files (its field "injected"): train and grad take it`,
    );
  }
  const { value, remark } = choosePrediction(g.graph, objective, output);
  if (!value.type) throw new SorthError(`"${value.name}" is of an unknown type; a loss needs floats`);
  const prediction = typed(value);
  const scores = computable(g, prediction);
  const { shape, declared = shape.map(() => undefined) } = prediction;
  const axes = injected.axes(shape);
  const labels = g.graph.addInput(
    g.graph.value("labels") ? g.graph.freshName(`${blockPrefix}labels`) : "labels",
    injected.labels === "prediction" ? scores.type : injected.labels,
    axes.map((axis) => shape[axis] ?? 1),
    axes.map((axis) => declared[axis]),
  );
  return { prediction, labels: typed(labels), remark, value: injected.build(g, scores, typed(labels)) };
}

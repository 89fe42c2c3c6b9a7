import { adaptersKey, detachedValues } from "../analysis/adapter-names.ts";
import { stepPrefix } from "../analysis/block-nodes.ts";
import { mayHaveCache } from "../analysis/cache-names.ts";
import { isCommonlyUndecayed } from "../analysis/decay.ts";
import { hasFreeBatch } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import { namesOfValue } from "../analysis/known-names.ts";
import { findParameters } from "../analysis/parameters.ts";
import type { Probe } from "../analysis/probe.ts";
import { hasQuantized, hasWeightsOfBits } from "../analysis/quantized.ts";
import { Readings } from "../analysis/readings.ts";
import { findSites } from "../analysis/sites.ts";
import { mayBeMiscomputed } from "../analysis/unsafe-forms.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { blockOf, removeBlock } from "../block/block.ts";
import { UsageError } from "../errors.ts";
import { Emit } from "../graph/emit.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { namesIn } from "../losses/prediction.ts";
import { isLossModel, isOfEmbeddings, termsOf } from "../losses/terms.ts";
import { isHalf } from "../onnx/data-types.ts";
import type { Model } from "../onnx/model.ts";
import { foldConstants } from "../passes/cleanup/fold-constants.ts";
import { hasBodies } from "../passes/expansion/expand-bodies.ts";
import { expandModel, liftParameters } from "../passes/expansion/expand-model.ts";
import { needsWritingOut, writeOutLayers } from "../passes/expansion/write-out-layers.ts";
import { type Pass, type PassContext, runPass, runPasses } from "../passes/pass.ts";
import { type ResolvedPlan, type ResolvedPlans, resolvePlans } from "../penalties/plan.ts";
import { readSchedule } from "../schedules/read.ts";
import type { LossOptions } from "./options.ts";
import { takenPrefix } from "./ports.ts";
import type { PreparedGraph } from "./prepared-graph.ts";
import { Program } from "./program.ts";
import type { Teaching } from "./teacher.ts";
import type { VariableSource } from "./variables.ts";

/** The opset in which gradients are written; 4-bit numbers in blocks are read by operators of opset 21. */
const gradientOpset = (graph: Graph): number => (hasWeightsOfBits(graph) ? 21 : 18);

/** Options in which programs differ when they read a model. */
export interface PrepareOptions {
  /** Rewrites of the model in opset 18, before its shapes are inferred. */
  readonly passes?: readonly Pass<unknown>[];
  /** Chooses what is kept as it is, so that it can have a gradient; default: nothing but the parameters. */
  readonly choose?: (source: VariableSource) => Held;
  /** Makes a float32 model of one whose parameters are float16 or bfloat16, to train it; default false. */
  readonly masters?: boolean;
  /** Prefix of an input or output whose own name is taken; default {@link takenPrefix}. */
  readonly taken?: string;
  /** Whether to describe the parameters ({@link PreparedGraph.described}). */
  readonly describes?: boolean;
  /** Number of shards into which the batch is cut; the graph computes one of them. Default 1. */
  readonly shards?: number;
  /** See {@link EmitOptions.channelBlock}. */
  readonly channelBlock?: number;
}

/** What a program keeps of a model in addition to its outputs. */
interface Held {
  /** Constants that are not folded. */
  readonly constants: readonly Value[];
  /** Values that are there afterwards: {@link PreparedGraph.held}. */
  readonly values: readonly Value[];
}

/** The options of a program with a loss: where they name none, that which inject added to the model. */
export const withLoss = async <O extends LossOptions>(model: Model, options: O): Promise<O> =>
  options.objective === undefined
    ? (await import("./injected-objective.ts")).withInjectedObjective(model, options)
    : options;

/**
 * Reads a model into a program: empties a decoder's cache, removes an injected block and keeps its options, splits shared initializers, expands functions
 * and bodies, raises the opset, writes the attention of decoders out, infers shapes, and folds values that do not depend on data.
 * @throws SorthError if ONNX Runtime refuses the model, an operator has no adapter, or a dimension is not known
 */
export async function prepare(
  model: Model,
  asked: LossOptions & { readonly samplesFirst?: boolean },
  probe: Probe,
  {
    passes = [],
    choose,
    masters = false,
    taken = takenPrefix,
    describes = false,
    shards = 1,
    channelBlock,
  }: PrepareOptions = {},
): Promise<Program> {
  const graph = graphOf(model);
  if (asked.penalties) (await import("../penalties/plan-names.ts")).checkPlanNames(asked.penalties);
  checkNoArtifact(graph);
  const teacher = await teaching(asked);
  const given = teacher?.options ?? asked;
  const embeddings = await embeddingParts(given);
  const options = await withoutPast(graph, embeddings?.rows(given) ?? given);
  const penalties = await withSchedules(takeBlock(graph, options));
  const check =
    options.tie || options.untie ? (await import("../analysis/share-options.ts")).shareCheck : undefined;
  const { shared } = liftParameters(graph, options, model.external, check);
  if (penalties.plans.length > 0 || needsWritingOut(graph)) await writeOutLayers(graph);
  if (options.batch === undefined && hasFreeBatch(graph, options)) {
    throw new UsageError("the model leaves its batch size open, and gradients need one: give it (--batch)");
  }
  // Decided before bodies are expanded, because an unrolled initial state would look like a weight.
  const found = findParameters(graph, options);
  if (options.onMessage) (await import("./tell-parameters.ts")).tellParameters(found, shared, options);
  const frozen = hasQuantized(graph)
    ? (await import("../analysis/quantized-layers.ts")).frozenText(graph)
    : undefined;
  const readings = choose || describes ? new Readings(graph) : undefined;
  const parameters = found.parameters.map(({ value }) => value);
  const constants = found.constants.map(({ value }) => value);
  const held = readings && choose?.({ graph, parameters, constants, readings });
  const described = new Map(
    found.parameters.flatMap((one) =>
      readings && describes
        ? [
            [
              one.value.name,
              { names: namesOfValue(one.value, readings), undecayed: isCommonlyUndecayed(one, readings) },
            ] as const,
          ]
        : [],
    ),
  );
  const keep = new Set([...parameters, ...(held?.constants ?? [])].map(({ name }) => name));
  const emit = new Emit(graph, { prefix: stepPrefix, shards, ...(channelBlock && { channelBlock }) });
  const context = { emit, probe, onMessage: options.onMessage };
  const { external } = model;
  const target = Math.max(gradientOpset(graph), teacher?.opset ?? 0);
  // Passes keep outputs, so that these values are still there afterwards.
  const detaching = options.detach ? await import("./detach.ts") : undefined;
  const stopped = (options.detach && detaching?.valuesToDetach(graph, options.detach)) ?? [];
  const kept = [...(held?.values ?? []), ...stopped];
  graph.outputs.push(...kept);
  await expandModel(graph, { target, dimensions: options, keep, external }, context);
  await writeOutOperators(graph, options, context);
  // Likewise the values named in the options.
  const terms = options.objective ? termsOf(options.objective) : [];
  const wanted = [options.output, options.loss, ...terms.map(({ output }) => output)];
  const names = wanted.flatMap((name) => (name === undefined ? [] : [name, ...namesIn(name)]));
  names.push(...detachedValues(graph));
  const named = [...new Set(names)].flatMap((name) => graph.value(name) ?? []);
  graph.outputs.push(...named);
  const half = found.parameters.find(({ value }) => isHalf(value.type));
  if (masters && half) {
    const { widenHalf } = await import("../passes/training/widen-half.ts");
    options.onMessage?.(
      `the weights are ${half.value.type}: training keeps them in float32 and writes them as ${half.value.type} again`,
    );
    await runPass(widenHalf(), graph, context);
  }
  if (options.straightThrough) {
    const { writeOutRounding } = await import("./write-out-rounding.ts");
    await writeOutRounding(graph, options, context);
  }
  await runPasses(passes, graph, context);
  graph.outputs.length -= named.length;
  // Files of IR 3 list initializers among the inputs, though no caller feeds them.
  for (const input of [...graph.inputs]) if (input.initializer) graph.removeInput(input);
  const own = new Set(graph.nodes);
  const joining = { ...context, target: Math.max(target, graph.opset) };
  const losses = await withLossModels(graph, options, joining);
  const taught = await teacher?.join(graph, model, joining);
  const { batch } = await inferShapes(graph, probe, options);
  // Only now the rank of a computed vector is known.
  if (mayBeMiscomputed(graph))
    (await import("../passes/training/sidestep-faults.ts")).sidestepFaults(graph, { final: false });
  embeddings?.split(graph, emit, options);
  const { sites, skipped } = await sitesToTrain(graph, own, penalties.plans, new Set(parameters));
  // Folding drops what no output needs.
  const needed = [...losses.lossModels.values(), ...(taught?.values.values() ?? [])];
  graph.outputs.push(...needed);
  await runPass(foldConstants({ keep }), graph, context);
  graph.outputs.length -= needed.length;
  const inPlace = graph.outputs.splice(graph.outputs.length - kept.length);
  const ends = inPlace.splice(kept.length - stopped.length);
  const turns =
    asked.samplesFirst && graph.outputs.some(({ shape = [] }) => shape.length > 2 || shape[0] !== batch);
  const samplesFirst =
    turns && batch !== undefined
      ? await (await import("./samples-first.ts")).samplesFirst(
          model,
          { graph, emit, batch },
          { ...options, probe },
        )
      : undefined;
  const detached = detaching?.detach(graph, ends, choose ? undefined : parameters, options.onMessage) ?? [];
  const prepared = {
    ...{ graph, emit, taken, batch, skipped, penalties, described, parameters },
    detached: [...detachedValues(graph), ...detached],
    ...losses,
    ...(taught && { taught }),
    ...(samplesFirst && { samplesFirst }),
    ...(embeddings && { embeddingsOf: embeddings.embeddingsOf }),
    held: inPlace,
    frozen,
    // All sizes are fixed now, including the batch, so a penalty may use its smaller form.
    sites: sites.map((site) => ({ ...site, rows: site.rows * shards, rowsFixed: true, freeAxes: [] })),
  };
  return new Program(prepared, { probe, options, source: model });
}

/** The teacher of a run; undefined without one. @throws UsageError for options that need one */
async function teaching(options: LossOptions): Promise<Teaching | undefined> {
  const { teacher, teacherOutput, objective } = options;
  const reading = objective && termsOf(objective).find((term) => term.teacher);
  return teacher || teacherOutput !== undefined || reading
    ? (await import("./teacher.ts")).teaching(options, reading?.name)
    : undefined;
}

/** What losses of embeddings need from a graph; undefined without such a loss. */
async function embeddingParts({ objective, siamese }: LossOptions) {
  const any = objective && termsOf(objective).some((term) => isOfEmbeddings(term.objective));
  return any || siamese !== undefined ? import("./embeddings.ts") : undefined;
}

/**
 * The layers on which penalties act. In a model with adapters: what their A reads, and base layers that are trained in full.
 * @param own - the model's nodes: others are those of losses and of a teacher
 */
async function sitesToTrain(
  graph: Graph,
  own: ReadonlySet<Node>,
  plans: readonly ResolvedPlan[],
  parameters: ReadonlySet<Value>,
): Promise<ReturnType<typeof findSites>> {
  const all = findSites(graph, { hidden: await hiddenIn(graph), inBodies: true, parameters });
  const foreign = new Set(graph.nodes.filter((node) => !own.has(node)).map(({ label }) => label));
  const found = {
    sites: all.sites.filter(({ node, body }) => own.has(body?.holder ?? node)),
    skipped: all.skipped.filter(({ name }) => !foreign.has(name)),
  };
  return graph.metadata.has(adaptersKey)
    ? (await import("./adapter-sites.ts")).adapterSites(graph, found, plans)
    : found;
}

/** The layers in bodies that are left. */
const hiddenIn = async (graph: Graph) =>
  hasBodies(graph) ? (await import("../analysis/hidden-sites.ts")).hiddenLayers(graph) : undefined;

/** Makes losses that are models part of the graph. */
async function withLossModels(
  graph: Graph,
  options: LossOptions,
  context: PassContext & { readonly target: number },
): Promise<Pick<PreparedGraph, "lossModels" | "lossInputs">> {
  const terms = options.objective ? termsOf(options.objective, options.output) : [];
  if (!terms.some(({ objective }) => isLossModel(objective)))
    return { lossModels: new Map(), lossInputs: [] };
  const { addLossModels } = await import("./loss-models.ts");
  return addLossModels(graph, terms, options, context);
}

/** Empties a decoder's cache. @returns the options without its lengths */
async function withoutPast(graph: Graph, options: LossOptions): Promise<LossOptions> {
  if (!mayHaveCache(graph)) return options;
  const { emptied } = await import("../passes/training/empty-cache.ts");
  return emptied(graph, options);
}

/** Writes operators out that have derivatives only in parts. */
async function writeOutOperators(graph: Graph, dimensions: LossOptions, context: PassContext): Promise<void> {
  if (graph.nodes.some(({ opType }) => /^(NonZero|GroupQueryAttention)$/.test(opType)))
    await (await import("./write-out-operators.ts")).writeOut(graph, dimensions, context);
}

/** Reads schedules that are texts. @throws UsageError for a text that is no schedule */
async function withSchedules({ plans, ...others }: ResolvedPlans): Promise<ResolvedPlans> {
  const read = plans.map(async ({ schedule: given, ...plan }) => {
    const schedule = await readSchedule(given);
    return { ...plan, ...(schedule && { schedule }) };
  });
  return { ...others, plans: await Promise.all(read) };
}

/** Removes an injected block from the graph and returns its penalties for training. */
function takeBlock(graph: Graph, options: LossOptions): ResolvedPlans {
  const block = blockOf(graph);
  const chosen = options.penalties ?? [];
  if (!block) return resolvePlans(chosen);
  if (chosen.length > 0) {
    throw new UsageError(
      "the model has penalties of its own (it was injected); leave --penalty out, or strip the model first",
    );
  }
  removeBlock(graph, block);
  return resolvePlans(block.penalties);
}

import { stepPrefix } from "../analysis/block-nodes.ts";
import { mayHaveCache } from "../analysis/cache-names.ts";
import {
  type DimensionOptions,
  declaredBatchAxis,
  fedInputs,
  resolveInputs,
} from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import { hasWeightsOfBits } from "../analysis/quantized.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { blockOf, removeBlock } from "../block/block.ts";
import { messageOf, SorthError, UsageError } from "../errors.ts";
import { Emit } from "../graph/emit.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { choosePrediction } from "../losses/prediction.ts";
import { labelsOfTeacher, teacherPrefix, withTaughtLosses } from "../losses/teaching.ts";
import { isLossModel, type NamedTerm, termsOf } from "../losses/terms.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Model, ModelSource } from "../onnx/model.ts";
import { byteLengthOf, type ExternalReader, largeBytes, Tensor } from "../onnx/tensor.ts";
import { liftConstants } from "../passes/cleanup/lift-constants.ts";
import { expandModel } from "../passes/expansion/expand-model.ts";
import { inlineFunctions } from "../passes/expansion/inline-functions.ts";
import { liftBodyConstants } from "../passes/expansion/lift-body-constants.ts";
import { type PassContext, runGraphPass } from "../passes/pass.ts";
import { toInferenceGraph } from "./inference-graph.ts";
import { joinGraph } from "./join-graph.ts";
import type { LossOptions } from "./options.ts";
import type { TaughtLosses } from "./prepared-graph.ts";
import { readAs } from "./teacher-inputs.ts";

/** A teacher that is to become part of a graph. */
export interface Teaching {
  /** The options with losses that say whether they read the teacher. */
  readonly options: LossOptions;
  /** The opset that the teacher needs. */
  readonly opset: number;
  /**
   * Makes the teacher part of the graph of the model that is trained, in inference form, frozen, reading the same inputs.
   * @param source - the model that is trained; large weights in files of its folder stay there
   */
  readonly join: (graph: Graph, source: ModelSource, context: JoinContext) => Promise<TaughtLosses>;
}

type JoinContext = PassContext & { readonly target: number };

/**
 * Reads the teacher of a run.
 * @param reading - the loss that reads it
 * @throws UsageError for options beside which it would have no effect, or that need one where there is none
 */
export function teaching(given: LossOptions, reading?: string): Teaching {
  const { teacher, teacherOutput } = given;
  if (!teacher) {
    const what =
      reading === undefined ? `teacherOutput "${teacherOutput}"` : `the loss ${reading} reads a teacher`;
    throw new UsageError(`${what}, and there is none: give the model (--teacher FILE)`);
  }
  const { siamese, ...others } = withTaughtLosses({ ...given, teacher });
  if (siamese !== undefined) {
    throw new UsageError("a teacher cannot read several inputs per sample (siamese): leave one of both out");
  }
  const graph = graphOf(teacher);
  flatten(graph, teacher);
  const options = { ...others, teacher };
  return {
    options,
    opset: Math.max(graph.opset, hasWeightsOfBits(graph) ? 21 : 0),
    join: (student, source, context) => join(graph, student, source, options, context),
  };
}

/** Takes an injected block out of the graph of a teacher, and constants out of functions and bodies. */
function flatten(graph: Graph, { external }: Model): void {
  checkNoArtifact(graph);
  const block = blockOf(graph);
  if (block) removeBlock(graph, block);
  runGraphPass(inlineFunctions({ external }), graph);
  runGraphPass(liftBodyConstants({ external }), graph);
  runGraphPass(liftConstants(), graph);
  for (const input of [...graph.inputs]) if (input.initializer) graph.removeInput(input);
}

async function join(
  teacher: Graph,
  graph: Graph,
  source: ModelSource,
  options: LossOptions & { readonly teacher: Model },
  { target, probe, onMessage }: JoinContext,
): Promise<TaughtLosses> {
  const { external } = options.teacher;
  const without = mayHaveCache(teacher)
    ? (await import("../passes/training/empty-cache.ts")).emptied(teacher, options)
    : options;
  const joined = joinInputs(teacher, graph, without);
  const dimensions = ownDimensions(teacher, without);
  const chosen = await ofTeacher(async () => {
    const context = { emit: new Emit(teacher, { prefix: stepPrefix }), probe, onMessage };
    await expandModel(
      teacher,
      { target, dimensions, keep: new Set(), ...(external && { external }) },
      context,
    );
    toInferenceGraph(teacher);
    await inferShapes(teacher, probe, dimensions);
    return chosenValues(teacher, graph, options);
  });
  teacher.outputs.splice(0, teacher.outputs.length, ...new Set(chosen.values()));
  teacher.prune();
  const isBeside = folderOf(source) !== undefined && folderOf(source) === folderOf(options.teacher);
  const at = joinGraph(graph, teacher, {
    ...{ joined, prefix: teacherPrefix },
    constant: (tensor, name) => (isBeside ? tensor.named(name) : moved(tensor, name, external)),
  });
  const values = new Map([...chosen].map(([term, value]) => [term, at(value)]));
  return { values, labels: labelsOfTeacher };
}

/** A constant of the teacher, for a model in another folder: large data stay in the teacher's own file. */
function moved(tensor: Tensor, name: string, external: ExternalReader | undefined): Tensor {
  const { type, dims } = tensor;
  const length = byteLengthOf(type, dims);
  const lies = tensor.external && length >= largeBytes && external?.stored?.({ ...tensor.external, length });
  return lies && !(lies instanceof Uint8Array) ? Tensor.stored(name, type, dims, lies) : tensor.moved(name);
}

/** Says that an error is the teacher's. */
async function ofTeacher<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const text = `the teacher: ${messageOf(error)}`;
    throw error instanceof UsageError ? new UsageError(text) : new SorthError(text, { cause: error });
  }
}

/** The folder of a model's file; undefined for a model in memory. */
const folderOf = ({ path }: ModelSource): string | undefined => path?.replace(/[^\\/]*$/, "");

/** The lengths that the inputs of the teacher have names for. */
function ownDimensions(teacher: Graph, { batch, dims = {} }: DimensionOptions): DimensionOptions {
  const names = new Set(
    teacher.inputs.flatMap(({ name, declared = Array.from({ length: 16 }) }) => [
      ...declared.flatMap((dim) => (typeof dim === "string" ? [dim] : [])),
      ...declared.map((_, axis) => `${name}.${axis}`),
    ]),
  );
  return {
    ...(batch !== undefined && { batch }),
    dims: Object.fromEntries(Object.entries(dims).filter(([name]) => names.has(name))),
  };
}

/** The value of the trained model's graph for each input of the teacher: the one of its name, or the only one of each. */
function joinInputs(teacher: Graph, graph: Graph, options: LossOptions): Map<Value, Value> {
  const own = fedInputs(graph);
  const [only, second] = own;
  const wanted = fedInputs(teacher);
  const shapes = resolveInputs(graph, options);
  const partners = wanted.map((input) => {
    const partner =
      own.find(({ name }) => name === input.name) ?? (second || wanted.length > 1 ? undefined : only);
    return [input, partner] as const;
  });
  const taken = partners.flatMap(([, partner]) => partner ?? []);
  if (taken.length === 0) {
    const names = (values: readonly Value[]) => values.map(({ name }) => name).join(", ") || "none";
    throw new UsageError(
      `the teacher reads none of the model's inputs: it takes ${names(wanted)}, the model ${names(own)}; give inputs of the same meaning the same name`,
    );
  }
  const joined = new Map<Value, Value>();
  for (const [input, partner] of partners) {
    const there = partner ?? addedInput(graph, input, own, options);
    if (partner) readAs(teacher, input, partner, shapes.get(partner));
    else input.declared = there.declared;
    joined.set(input, there);
  }
  // Shapes of the teacher are inferred with the model's names, which its own values may have.
  for (const [input, { name }] of joined) {
    const holder = teacher.value(name);
    if (holder === input) continue;
    if (holder) teacher.rename(holder, teacher.freshName(`${name}_inner`));
    teacher.rename(input, name);
  }
  return joined;
}

/** An input that only the teacher has, fed from the data by its name. */
function addedInput(graph: Graph, input: Value, own: readonly Value[], { onMessage }: LossOptions): Value {
  const { name, type, declared } = input;
  const [first] = own;
  const samples = first?.declared?.[declaredBatchAxis(first)];
  const axis = declaredBatchAxis(input);
  const holder = graph.value(name);
  if (holder) graph.rename(holder, graph.freshName(`${stepPrefix}inner/${name}`));
  onMessage?.(`the teacher also reads "${name}", which the model does not: the data have to hold it`);
  return graph.addInput(
    name,
    type,
    undefined,
    declared?.map((dim, at) => (at === axis && typeof dim !== "number" ? samples : dim)),
  );
}

/** The teacher's value for each loss that reads it. */
function chosenValues(
  teacher: Graph,
  graph: Graph,
  { objective, teacherOutput, onMessage }: LossOptions,
): Map<string, Value> {
  const chosen = new Map<string, Value>();
  for (const term of objective ? termsOf(objective) : []) {
    const { objective: loss, name } = term;
    if (term.teacher === false || isLossModel(loss)) continue;
    const asked = typeof term.teacher === "string" ? term.teacher : teacherOutput;
    const { value, remark } = choosePrediction(teacher, loss, asked ?? sameOutput(teacher, graph, term));
    if (remark !== undefined) onMessage?.(`the teacher: ${remark}`);
    if (teacher.inputs.includes(value)) throw new UsageError(`it returns its input "${value.name}"`);
    chosen.set(name, value);
  }
  return chosen;
}

/** The name of the teacher's output that a loss reads if nobody says which; undefined for the first one of floats. */
function sameOutput(teacher: Graph, graph: Graph, { name, output }: NamedTerm): string | undefined {
  const floats = teacher.outputs.filter(({ type }) => isFloat(type));
  const wanted = output ?? graph.outputs[0]?.name;
  const same = floats.find((value) => value.name === wanted);
  if (same || output === undefined || floats.length < 2) return same?.name;
  const names = floats.map((value) => value.name).join(", ");
  throw new UsageError(
    `the loss ${name} reads "${output}" of the model, and the teacher has no such output (${names}): name one, as in --objective distillation:output=${output},teacher=${floats[0]?.name}`,
  );
}

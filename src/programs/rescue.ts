import { stepPrefix } from "../analysis/block-nodes.ts";
import { checkCheckpoint, type OrtCheckpoint } from "../artifacts/checkpoint.ts";
import { bufferSuffix } from "../artifacts/format.ts";
import { toForwardPart } from "../artifacts/forward-part.ts";
import { type NamedOptimizer, readOptimizerModel } from "../artifacts/read-optimizer-model.ts";
import { artifactKind, trainingModelOf } from "../artifacts/training-model.ts";
import { patternOfNames } from "../block/bounded-pattern.ts";
import { checkFields } from "../check-arguments.ts";
import { FileError, SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { onlyCrossEntropy } from "../losses/own-objective.ts";
import { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { TrainerState } from "./trainer-state.ts";

/** A training model that any build of ONNX Runtime can continue to train; `Trainer.rescue` starts from it. */
export interface RescuedModel {
  /** The forward part in standard operators: parameters are initializers, the loss is the output. */
  readonly model: Model;
  /** Options of its training: the loss, which weights are trained, and that shared weights stay shared. */
  readonly options: { readonly loss: string; readonly trainable: RegExp; readonly tie: RegExp };
  /** The state that the checkpoint's optimizer had; slots as adamw-ort names them. */
  readonly state: Pick<TrainerState, "slots" | "updates">;
  /** The learning rate in the checkpoint; undefined if it has no optimizer state. */
  readonly learningRate: number | undefined;
  /**
   * The optimizer that the optimizer model describes; without that model, ONNX Runtime's AdamW. The optimizer model is read
   * on access, so that one that cannot be read does not stop a run with another optimizer.
   */
  readonly optimizer: NamedOptimizer;
  /** The checkpoint as it was read: {@link checkpointOf} writes a later one of the same run from it. */
  readonly checkpoint: OrtCheckpoint;
}

/** Names of an optimizer's slots: in checkpoints, and here. */
const slotNames = [
  ["momentum0", "m"],
  ["momentum1", "v"],
] as const;

type Slots = ReadonlyMap<string, ReadonlyMap<string, Tensor>>;

/** Each parameter's slots under other names; slots without another name are omitted. */
const renamed = (slots: Slots, names: readonly (readonly [string, string])[]): Slots =>
  new Map(
    [...slots].map(([parameter, own]) => [
      parameter,
      new Map(
        names.flatMap(([from, to]) => {
          const tensor = own.get(from);
          return tensor ? [[to, tensor.named(to)] as const] : [];
        }),
      ),
    ]),
  );

/**
 * Makes a training model of ONNX Runtime's discontinued training API trainable on stock builds: the forward part stays, the
 * backward part is left to {@link Trainer}. An injected penalty stays.
 *
 * @param training - a training_model.onnx
 * @param checkpoint - the file `checkpoint` beside it, or a later one of its run
 * @param optimizer - the optimizer_model.onnx beside it; default: ONNX Runtime's AdamW with its standard constants
 * @throws SorthError for another kind of file, a checkpoint of another model, or an operator without a standard form
 *
 * @example
 * const run = rescueModel(await readModel("training_model.onnx"), await readCheckpoint("checkpoint"));
 * const trainer = await Trainer.rescue(run, { batch: 16 });
 */
export function rescueModel(training: Model, checkpoint: OrtCheckpoint, optimizer?: Model): RescuedModel {
  const graph = graphOf(training);
  checkCheckpoint(checkpoint);
  const kind = artifactKind(graph);
  const parts = trainingModelOf(graph, new Set(checkpoint.frozen.map(({ name }) => name)));
  if (!parts) {
    const what = kind === undefined ? "no artifact of ONNX Runtime's training tools" : `its ${kind} model`;
    throw new SorthError(`the file is ${what}; a run goes on from training_model.onnx`);
  }
  checkStatistics(graph);
  const tensors = new Map([...checkpoint.parameters, ...checkpoint.frozen].map((one) => [one.name, one]));
  const parameters = parts.parameters.map(({ value }) => value);
  checkFits(
    parameters,
    parts.frozen,
    checkpoint.parameters.map(({ name }) => name),
    tensors,
  );
  const weights = (value: Value): Tensor => tensors.get(value.name) as Tensor;
  toForwardPart(parts, weights);
  const irVersion = Number(training.proto.irVersion);
  const former = checkpoint.optimizer;
  return {
    model: Model.fromProto(graphToProto(graph, { irVersion })),
    options: {
      loss: parts.loss.name,
      trainable: patternOfNames(parameters.map(({ name }) => name)),
      tie: /^/,
    },
    state: {
      slots: renamed(former?.momentums ?? new Map(), slotNames),
      updates: former?.step ?? 0,
    },
    learningRate: former?.learningRate,
    get optimizer() {
      return optimizer ? readOptimizerModel(optimizer) : ({ name: "adamw-ort", options: {} } as const);
    },
    checkpoint,
  };
}

/** @throws SorthError for a file of `sorth-onnx artifacts` with BatchNorm, whose forward part no longer says so */
function checkStatistics(graph: Graph): void {
  const written = graph.nodes.find(
    ({ opType, inputs }) => opType === "InPlaceAccumulatorV2" && !inputs[0]?.name.endsWith(bufferSuffix),
  );
  if (!written) return;
  throw new SorthError(
    `the training model was written by sorth-onnx artifacts and updates "${written.inputs[0]?.name}" in plain operators, so that no inference model can be made of it; train the forward model that it was made from`,
  );
}

/** @throws FileError if a checkpoint is not one of this model, naming what is missing, left over, or of another shape */
function checkFits(
  parameters: readonly Value[],
  frozen: readonly Value[],
  saved: readonly string[],
  tensors: ReadonlyMap<string, Tensor>,
): void {
  const list = (names: readonly string[]) => names.map((name) => `"${name}"`).join(", ");
  const expected = [...parameters, ...frozen];
  const missing = expected.filter(({ name }) => !tensors.has(name)).map(({ name }) => name);
  if (missing.length > 0) {
    throw new FileError(`the checkpoint is of another model: it has no ${list(missing)}`);
  }
  const names = new Set(parameters.map(({ name }) => name));
  const extra = saved.filter((name) => !names.has(name));
  if (extra.length > 0) {
    throw new FileError(`the checkpoint is of another model, which also trains ${list(extra)}`);
  }
  for (const { name, declared } of expected) {
    const dims = tensors.get(name)?.dims ?? [];
    if (!declared || (declared.length === dims.length && declared.every((dim, i) => dim === dims[i])))
      continue;
    throw new FileError(
      `the checkpoint is of another model: "${name}" is [${dims.join(", ")}] in it, and [${declared.join(", ")}] in the model`,
    );
  }
}

/**
 * A run's state as a checkpoint from which ONNX Runtime's training API can continue. Parameters, statistics and optimizer
 * state are the run's; everything else (order, frozen weights, the user's entries) comes from the checkpoint it started with.
 * @param given - the learning rate that is written for the optimizer; default: the old checkpoint's, else 0.001
 *
 * @example
 * await writeCheckpoint("checkpoint-20", checkpointOf(trainer.state(), before));
 */
export function checkpointOf(state: TrainerState, before: OrtCheckpoint, given?: number): OrtCheckpoint {
  checkCheckpoint(before);
  checkFields("a state is what trainer.state() gives", state, "parameters", "statistics", "slots");
  const learningRate = given ?? before.optimizer?.learningRate ?? 1e-3;
  const now = (tensor: Tensor) =>
    state.parameters.get(tensor.name) ?? state.statistics.get(tensor.name) ?? tensor;
  const theirNames = slotNames.map(([theirs, ours]) => [ours, theirs] as const);
  // Parameters that this run froze keep their old moments.
  const momentums = new Map([...(before.optimizer?.momentums ?? []), ...renamed(state.slots, theirNames)]);
  return {
    parameters: before.parameters.map(now),
    frozen: before.frozen.map(now),
    optimizer: { step: state.updates, learningRate, momentums },
    properties: before.properties,
  };
}

/**
 * The inference model inside a trained model that contains its loss: removes the loss and the inputs that only the loss reads
 * (labels), and makes the prediction the output.
 * @param trained - the result of `Trainer.export`
 * @param prediction - name of the value that becomes the output; default: the value that the cross-entropy reads
 * @throws UsageError if no prediction was named and the loss does not show which value it is
 */
export function rescuedInference(trained: Model, prediction?: string): Model {
  const graph = graphOf(trained);
  const value = prediction === undefined ? onlyCrossEntropy(graph.nodes)?.inputs[0] : graph.value(prediction);
  if (!value?.producer) {
    const hint = graph.nodes
      .filter(({ label }) => !label.startsWith(stepPrefix))
      .slice(-6)
      .flatMap(({ outputs }) => outputs.flatMap((output) => (output ? [`"${output.name}"`] : [])));
    throw new UsageError(
      prediction === undefined
        ? `which value is the prediction cannot be told from this loss: name it (--prediction); the last values are ${hint.join(", ")}`
        : `no node computes a value "${prediction}"; the last values are ${hint.join(", ")}`,
    );
  }
  graph.outputs.splice(0, graph.outputs.length, value);
  graph.pruneInputs();
  return Model.fromProto(graphToProto(graph, { irVersion: Number(trained.proto.irVersion) }));
}

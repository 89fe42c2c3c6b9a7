import { untrainable } from "../analysis/other-layers.ts";
import type { Probe } from "../analysis/probe.ts";
import { probeModel } from "../analysis/probe-model.ts";
import { rulesFor } from "../autodiff/rules-for.ts";
import { backward, type Seed } from "../autodiff/walk.ts";
import { messageOf, SorthError } from "../errors.ts";
import { checkGraph } from "../graph/check.ts";
import { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import { Graph } from "../graph/graph.ts";
import { modelOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { namesIn } from "../losses/prediction.ts";
import { termsOf } from "../losses/terms.ts";
import { checkNumber, count } from "../numbers.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import type { Model, ModelSource } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import type { Lowering } from "../passes/backends/table.ts";
import { type Pass, runPass } from "../passes/pass.ts";
import { type StateLayout, storeAsRead } from "../passes/training/store-as-read.ts";
import { layerMatrices } from "./layer-matrices.ts";
import { emitLoss, type LossGraph } from "./loss-graph.ts";
import type { LossOptions } from "./options.ts";
import { type PenaltyInputs, withoutPenalties } from "./penalty-graph.ts";
import { inputName, nameOutput } from "./ports.ts";
import type { PreparedGraph } from "./prepared-graph.ts";
import { reordered } from "./state-layout.ts";
import type { StatePort } from "./step-ports.ts";
import {
  emitUpdates,
  statePort,
  type TrainedParameter,
  type UpdatePorts,
  type UpdateScalars,
} from "./update.ts";

/** The runtime, options and source of a program. */
interface ProgramContext {
  readonly probe: Probe;
  readonly options: LossOptions;
  /** The model that the graph was read from: its large weights in other files stay there. */
  readonly source: ModelSource;
}

/** How {@link Program.finish} ends a program. */
interface FinishOptions {
  /** Passes over the whole graph, in this order. */
  readonly passes?: readonly Pass<unknown>[];
  /** `metadata_props` of the written model. */
  readonly metadata?: ReadonlyMap<string, string>;
  /**
   * How the graph is checked: "run" (default) also lets ONNX Runtime open it on the CPU; "structure" is for graphs that a
   * session opens next, or that the CPU build cannot open.
   */
  readonly check?: "run" | "structure";
  /** Whether large weights move into the model; default: they stay in the files beside the source. */
  readonly embed?: boolean;
  readonly irVersion?: number;
}

/**
 * A program under construction: a model's graph that becomes a training step, a gradient graph, an evaluation graph or a
 * training artifact. Each of those files is one list of calls that reads from top to bottom:
 *
 * 1. {@link prepare} reads the model, with the rewrites that this program needs.
 * 2. {@link Program.run} applies a pass; {@link Program.feed} makes a weight an input.
 * 3. {@link Program.loss} adds the loss and the penalties, {@link Program.gradients} their gradients,
 *    {@link Program.update} the optimizer.
 * 4. {@link Program.dropOutputs}, then {@link Program.output} names each result.
 * 5. {@link Program.finish} prunes, applies the last passes, checks and encodes.
 *
 * A new program is one more such file. Everything that is added is named `step/…`.
 *
 * @example
 * const program = await prepare(model, options, probe);
 * const loss = program.loss();
 * const gradients = await program.gradients(loss, program.prepared.parameters);
 * program.dropOutputs();
 * program.output(loss.total, "loss");
 * for (const [parameter, gradient] of gradients) program.output(gradient, `${parameter.name}_grad`);
 * return program.finish();
 */
export class Program {
  readonly graph: Graph;
  readonly emit: Emit;
  #prepared: PreparedGraph;
  /** The nodes of the gradients, each with the gradient at whose arrival it was emitted. */
  readonly #arrivals = new Map<Node, Typed>();
  /** The gradients, and where they enter. */
  #differentiated:
    | { readonly gradients: ReadonlyMap<Value, Typed>; readonly seeds: readonly Value[] }
    | undefined;
  /** How weights that became inputs are reordered. */
  #layouts: ReadonlyMap<Value, StateLayout> = new Map();
  /** Numbers of the weights that became inputs, by name, in the model's form. */
  readonly initial = new Map<string, Tensor>();
  readonly #context: ProgramContext;

  constructor(prepared: PreparedGraph, context: ProgramContext) {
    this.graph = prepared.graph;
    this.emit = prepared.emit;
    this.#prepared = prepared;
    this.#context = context;
  }

  /** The parts found in the model. */
  get prepared(): PreparedGraph {
    return this.#prepared;
  }

  /** An empty program of the same opset, for a graph that goes with this one. */
  beside(name: string): Program {
    const graph = new Graph(name, new Map([["", this.graph.opset]]));
    const none = {
      ...{ parameters: [], held: [] },
      sites: [],
      skipped: [],
      described: new Map(),
      penalties: { weight: 1, plans: [] },
      ...{ lossModels: new Map(), lossInputs: [] },
    };
    const emit = new Emit(graph, this.emit.options);
    return new Program({ ...this.prepared, ...none, graph, emit }, { ...this.#context, source: {} });
  }

  /** Applies a pass. @returns what the pass found out */
  run<R>(pass: Pass<R>): Promise<R> {
    const { probe, options } = this.#context;
    return runPass(pass, this.graph, { emit: this.emit, probe, onMessage: options.onMessage });
  }

  /** Applies a pass that chooses layouts, before anything is fed or differentiated. Layers read their responses where they are then. */
  async layOut(layout: NonNullable<Lowering["layout"]>): Promise<void> {
    const { output, loss, objective } = this.#context.options;
    const read = objective ? termsOf(objective).map((term) => term.output) : [];
    const names = [output, loss, ...read].filter((name) => name !== undefined);
    const taught = [...(this.prepared.taught?.values.values() ?? [])].map(({ name }) => name);
    const keep = new Set([...names, ...names.flatMap(namesIn), ...taught]);
    const trained = new Set(this.prepared.parameters.map(({ name }) => name));
    if (!this.#has("Conv")) return;
    const moved = await this.run(await layout({ keep, trained }));
    const { sitesOnRows } = await import("./sites-on-rows.ts");
    this.#prepared = { ...this.#prepared, sites: sitesOnRows(this.#prepared, moved) };
  }

  /** Computes products in half precision, before anything is fed or differentiated. Layers have their responses in float32. */
  async computeInHalf(type: "float16" | "bfloat16", masks: readonly Value[]): Promise<void> {
    const { sitesBesideHalf } = await import("./compute-in-half.ts");
    this.#prepared = {
      ...this.#prepared,
      sites: await sitesBesideHalf(this.prepared, { type, masks }, (pass) => this.run(pass)),
    };
  }

  /** Adds the loss: the objective or the model's own, and the penalties with the given weight, schedules and draws. */
  loss(inputs: PenaltyInputs = {}): LossGraph {
    return emitLoss(this.prepared, this.#context.options, inputs);
  }

  /** Adds the loss of the data alone. */
  dataLoss(): LossGraph {
    return emitLoss(withoutPenalties(this.prepared), this.#context.options);
  }

  /**
   * Adds the gradients of a loss.
   * @param separate - values whose gradient must not be shared with another value
   * @returns by value; a value on which the loss does not depend has none
   * @throws SorthError when an operator on the way has no derivative
   */
  async gradients(
    { seeds }: Pick<LossGraph, "seeds">,
    wrt: readonly Value[],
    separate: ReadonlySet<Value> = new Set(),
  ): Promise<Map<Value, Typed>> {
    const [gradients = new Map()] = await this.gradientsOfEach([seeds], wrt, separate);
    return gradients;
  }

  /** Adds the gradients of several scalars, each apart from the others. Segments of the forward pass are those of the first. */
  async gradientsOfEach(
    scalars: readonly (readonly Seed[])[],
    wrt: readonly Value[],
    separate: ReadonlySet<Value> = new Set(),
  ): Promise<Map<Value, Typed>[]> {
    const arrivals = this.#arrivals;
    // A page loads these for a model that may need them.
    const activations = this.#has("Erf", "Sigmoid", "Gelu", "Swish")
      ? await import("../passes/training/activations.ts")
      : undefined;
    if (activations) await this.run(activations.recognizeActivations());
    if (this.#has("ReduceMean")) {
      const { recognizeLayerNormalization } = await import(
        "../passes/training/recognize-layer-normalization.ts"
      );
      await this.run(recognizeLayerNormalization());
    }
    const differentiate = await this.differentiator();
    const all = scalars.map((seeds) => differentiate(seeds, wrt, { separate, arrivals }));
    const [[gradients], [seeds]] = [all, scalars];
    if (gradients && seeds) this.#differentiated = { gradients, seeds: seeds.map(({ value }) => value) };
    if (activations) await this.run(activations.writeOutActivations());
    return all;
  }

  /** Writes the reverse walk from seeds to values, with the rules of the operators that the graph has now. */
  async differentiator() {
    const { graph, emit } = this;
    const rules = await rulesFor(graph, this.#context.options.straightThrough);
    const detached = new Set(this.#prepared.detached.flatMap((name) => graph.value(name) ?? []));
    return (
      seeds: readonly Seed[],
      wrt: readonly Value[],
      options: Pick<Parameters<typeof backward>[1], "separate" | "arrivals"> = {},
    ): Map<Value, Typed> => backward(graph, { ...{ wrt, seeds, rules, emit, detached }, ...options });
  }

  /** Whether the graph has a node of one of these standard operators. */
  #has(...ops: readonly string[]): boolean {
    return this.graph.nodes.some(({ op }) => ops.includes(op));
  }

  /**
   * The parameters that have a gradient. The others stay initializers or become initializers again, and a message names them.
   * @throws SorthError if there are none
   */
  trained(gradients: ReadonlyMap<Value, Typed>): TrainedParameter[] {
    const matrices = layerMatrices(this.prepared.sites);
    const trained = this.prepared.parameters.flatMap((value): TrainedParameter[] => {
      const gradient = gradients.get(value);
      const layout = this.#layouts.get(value);
      const matrix = matrices.get(value);
      if (gradient) return [{ name: value.name, value: typed(value), gradient, layout, matrix }];
      const numbers = this.initial.get(value.name);
      if (numbers) this.graph.inputToInitializer(value, reordered(numbers, layout, typed(value).shape));
      this.initial.delete(value.name);
      this.#context.options.onMessage?.(`${value.name}: not trained, the loss does not depend on it`);
      return [];
    });
    if (trained.length > 0) return trained;
    const { frozen } = this.prepared;
    throw new SorthError(
      frozen
        ? `nothing is left to train: ${frozen}; add --lora, --classes N, or name what to train (--trainable), see sorth-onnx inspect`
        : `the loss depends on no trainable parameter${untrainable(this.graph)}; see sorth-onnx inspect, --trainable and --freeze`,
    );
  }

  /** Adds an input of that name, or with a prefix in front if it is taken. */
  input(name: string, type: DataTypeName, shape: readonly number[]): Typed {
    return typed(this.graph.addInput(inputName(this.graph, name, this.prepared.taken), type, shape));
  }

  /** Makes a weight an input, so that it is fed. @returns its numbers, which {@link Program.initial} keeps */
  feed(value: Value): Tensor {
    const tensor = value.initializer as Tensor;
    this.graph.initializerToInput(value);
    this.initial.set(value.name, tensor);
    return tensor;
  }

  /**
   * Gives the fed parameters the form in which they are read, where all readers agree. Its place is before {@link gradients},
   * which then have the same form.
   */
  async storeAsRead({ seeds }: LossGraph): Promise<void> {
    const seeded = new Set(seeds.map(({ value }) => value));
    this.#layouts = await this.run(storeAsRead({ weights: this.prepared.parameters, seeded }));
  }

  /** Adds the optimizer. @returns the ports of the parameters and of the optimizer's state */
  update(optimizer: Optimizer, trained: readonly TrainedParameter[], fed: UpdateScalars): UpdatePorts {
    return emitUpdates(this.graph, this.emit, optimizer, trained, fed);
  }

  /** Removes the model's own outputs. */
  dropOutputs(): void {
    this.graph.outputs.length = 0;
  }

  /** Makes a value an output of that name, or with a prefix in front if an input or output has it. */
  output(value: Typed, name: string): Typed {
    return nameOutput(this.graph, this.emit, value, name, this.prepared.taken);
  }

  /** Makes the next value of an input an output that is named after it. */
  state(input: Typed, next: Typed): StatePort {
    return statePort(this.graph, this.emit, input, next);
  }

  /** The passes that compute activations again instead of keeping them, if the options ask for it. */
  async recomputation(): Promise<Pass<unknown>[]> {
    const { recompute, checkpointEvery: every } = this.#context.options;
    const arrivals = this.#arrivals;
    const passes: Pass<unknown>[] = [];
    if (every !== undefined && this.#differentiated) {
      if (every !== "block") checkNumber("checkpointEvery", every, count);
      const { checkpointSegments } = await import("../passes/training/checkpoint-segments.ts");
      const { gradients, seeds } = this.#differentiated;
      const fed = this.graph.inputs.filter(({ name }) => this.initial.has(name));
      passes.push(
        checkpointSegments({ every, arrivals, gradients, seeds, weights: new Set(fed), required: true }),
      );
    }
    // Values behind the end of the last segment would otherwise be kept.
    if (recompute) {
      const { recomputeActivations } = await import("../passes/training/recompute-activations.ts");
      passes.push(recomputeActivations({ arrivals }));
    }
    return passes;
  }

  /** Ends the program: drops what no output needs, applies the last passes, checks the graph and encodes it once. */
  async finish({
    passes = [],
    metadata = new Map(),
    check = "run",
    embed = false,
    irVersion,
  }: FinishOptions = {}): Promise<Model> {
    const { graph } = this;
    const { probe, source } = this.#context;
    graph.prune();
    // The source's metadata does not apply to another graph; passes may leave notes.
    graph.metadata.clear();
    for (const pass of passes) await this.run(pass);
    // Passes leave behind what they replaced.
    graph.prune();
    checkGraph(graph);
    if (check === "run") await checkRuns(graph, probe);
    for (const [key, text] of metadata) graph.metadata.set(key, text);
    return modelOf(graph, embed ? {} : source, irVersion === undefined ? {} : { irVersion });
  }
}

/** @throws SorthError when ONNX Runtime does not open the graph on the CPU; large constants are left out of the copy it opens */
async function checkRuns(graph: Graph, probe: Probe): Promise<void> {
  const inputs = new Map(graph.inputs.map((value) => [value, value.shape ?? []] as const));
  try {
    await probe.outputs(probeModel(graph, inputs, { values: graph.outputs }), { optimize: false });
  } catch (error) {
    throw new SorthError(`nothing is written: the graph would not run on the CPU: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

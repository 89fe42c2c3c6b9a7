import type { Dataset } from "../data/dataset.ts";
import type { Normalization } from "../data/normalize.ts";
import type { Model } from "../onnx/model.ts";
import { buildEvaluation, type EvaluationGraph } from "../programs/evaluation.ts";
import type { StepPorts } from "../programs/step-ports.ts";
import type { Better } from "./best-epochs.ts";
import { checkDataset, evaluate, remarkOnRest } from "./evaluator.ts";
import type { EvaluationResult } from "./events.ts";
import type { Backend, Fed, ForwardSession } from "./step-session.ts";
import type { TrainerOptions } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Options of an evaluation. */
export interface EvaluationSettings {
  readonly signal?: AbortSignal | undefined;
  /** How pixels are scaled. */
  readonly normalize?: Normalization | undefined;
}

/** Evaluates a trainer's model. Builds the graph and opens its session on first use. */
export class OwnEvaluation {
  readonly #model: Model;
  readonly #options: TrainerOptions;
  readonly #ports: StepPorts;
  readonly #probe: TrainerRuntime["probe"];
  readonly #backend: Backend;
  #opened: { session: ForwardSession; graph: EvaluationGraph } | undefined;
  /** Datasets whose labels have been checked. */
  readonly #checked = new WeakSet<Dataset>();
  /** Messages already sent: each is sent once. */
  readonly #remarks = new Set<string>();

  constructor(
    model: Model,
    options: TrainerOptions,
    of: { readonly ports: StepPorts; readonly probe: TrainerRuntime["probe"]; readonly backend: Backend },
  ) {
    this.#model = model;
    this.#options = options;
    this.#ports = of.ports;
    this.#probe = of.probe;
    this.#backend = of.backend;
  }

  /** @throws SorthError for labels that the loss cannot take */
  async check(dataset: Dataset): Promise<void> {
    const { graph } = await this.#open();
    if (this.#checked.has(dataset)) return;
    checkDataset(dataset, { graph, ports: this.#ports }, this.#options.objective);
    this.#checked.add(dataset);
  }

  /** The figures that an evaluation computes, each with what is better of it. */
  async figures(): Promise<ReadonlyMap<string, Better>> {
    const { graph } = await this.#open();
    const counts = graph.objective?.evaluate([], [], 0, graph.prediction?.shape ?? [0]);
    return new Map<string, Better>([
      ["loss", "lower"],
      ...(counts?.correct === undefined ? [] : [["accuracy", "higher"] as const]),
    ]);
  }

  /**
   * Loss and accuracy over a whole dataset.
   * @param held - fetches the state in the form that the ports name; called after all checks
   */
  async run(
    dataset: Dataset,
    held: () => Promise<ReadonlyMap<string, Fed>>,
    { signal, normalize }: EvaluationSettings,
  ): Promise<EvaluationResult> {
    const { session, graph } = await this.#open();
    const ports = this.#ports;
    await this.check(dataset);
    const remark = remarkOnRest(dataset, { graph, ports });
    if (remark !== undefined && !this.#remarks.has(remark)) this.#options.onMessage?.(remark);
    if (remark !== undefined) this.#remarks.add(remark);
    return evaluate(dataset, { session, graph, ports, state: await held(), signal, normalize });
  }

  async release(): Promise<void> {
    await this.#opened?.session.release();
  }

  async #open(): Promise<{ session: ForwardSession; graph: EvaluationGraph }> {
    if (!this.#opened) {
      const lower = await this.#backend.lowering();
      const graph = await buildEvaluation(this.#model, this.#options, this.#ports, this.#probe, lower);
      const session = await this.#backend.openForward(graph.model, this.#options);
      this.#opened = { session, graph };
    }
    return this.#opened;
  }
}

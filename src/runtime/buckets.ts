import { declaredBatchAxis, fedInputs } from "../analysis/dimensions.ts";
import type { Probe } from "../analysis/probe.ts";
import {
  attention,
  bucketOfBatch,
  bucketsText,
  checkLabels,
  cutTo,
  type LabelledTerm,
  orderInBuckets,
  type TextBuckets,
  textBuckets,
} from "../data/buckets.ts";
import type { Dataset, Filled } from "../data/dataset.ts";
import { isUsual, tokensOf } from "../data/token-columns.ts";
import { SorthError, UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import { termsOf } from "../losses/terms.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";
import { batchOf, type StepPorts, statePorts } from "../programs/step-ports.ts";
import type { FitBuckets, OpenedStep, OpenStep, OpenStepOptions, StepBuckets } from "./opened-step.ts";
import { type Feeder, StepFeeder } from "./step-feeds.ts";
import type { StepScalars } from "./step-scalars.ts";
import type { Backend, Fed, StepFeeds, StepResult, StepSession } from "./step-session.ts";

/** The step of one length, with its session. */
type Opened = Pick<OpenedStep, "step" | "session">;

/** Opens the step of the longest bucket. Those of the others are opened when data are seen that have texts for them. */
export async function openBuckets(
  open: OpenStep,
  model: Model,
  { buckets: lengths = [], ...options }: OpenStepOptions,
  backend: Backend,
  probe: Probe,
): Promise<OpenedStep> {
  const names = lengthNames(model, options, lengths.at(-1) ?? 0);
  const whole = { ...options, stepsPerRun: 1 };
  const longest = await open(model, whole, backend, probe);
  const { onMessage: _, onMemory: __, profile: ___, ...quiet } = whole;
  const { objective, output, onMessage } = options;
  const ofLengths =
    objective &&
    (await (await import("./bucket-objective.ts")).objectiveOfLengths(model, { ...whole, objective }, probe));
  const buckets = new Buckets(lengths, longest, {
    open: async (length) => {
      const dims = { ...options.dims, ...Object.fromEntries(names.map((name) => [name, length])) };
      return open(
        model,
        { ...quiet, ...(ofLengths && { objective: ofLengths }), dims },
        backend,
        probe,
        longest.session,
      );
    },
    terms: objective ? termsOf(objective, output) : [],
    onMessage,
  });
  return { ...longest, session: buckets.session, buckets };
}

/** The free dimensions of a model's inputs that count the tokens of a sample. @throws UsageError where there is none */
export function lengthNames(
  model: Model,
  { dims = {} }: Pick<OpenStepOptions, "dims">,
  most: number,
): string[] {
  const names = fedInputs(graphOf(model)).flatMap((input) => {
    const { name, declared = [] } = input;
    const batchAxis = declaredBatchAxis(input);
    return declared.flatMap((dim, axis) => {
      const key = dim ?? `${name}.${axis}`;
      return axis !== batchAxis && typeof key === "string" && dims[key] === most ? [key] : [];
    });
  });
  if (names.length > 0) return [...new Set(names)];
  throw new UsageError(
    `no free dimension of the model has the length ${most} of the last bucket: the last is that of the samples (--length), and a model whose file fixes it takes no buckets`,
  );
}

/** What the steps of a run whose texts are in buckets have in common. */
interface BucketParts {
  /** Opens the step of a length, whose session shares the state of the longest one's. */
  readonly open: (length: number) => Promise<Opened>;
  readonly terms: readonly LabelledTerm[];
  readonly onMessage: ((message: string) => void) | undefined;
}

/** The steps of a run whose texts are in buckets. All share one state. */
class Buckets implements StepBuckets {
  /** Runs the step of each batch's length. */
  readonly session: StepSession;
  readonly #lengths: readonly number[];
  readonly #longest: Opened;
  readonly #how: BucketParts;
  /** The steps that are open, by length. */
  readonly #opened: Map<number, Opened>;

  constructor(lengths: readonly number[], longest: Opened, how: BucketParts) {
    this.#lengths = lengths;
    this.#longest = longest;
    this.#how = how;
    this.#opened = new Map([[lengths.at(-1) ?? 0, longest]]);
    this.session = new BucketSession(longest, this.#opened);
  }

  async of(train: Dataset): Promise<FitBuckets> {
    const { ports } = this.#longest.step;
    const texts = await textBuckets(train, this.#lengths);
    checkLeavesPaddingOut(ports);
    this.#how.onMessage?.(bucketsText(train, texts));
    const used = this.#lengths.filter((_, bucket) => texts.bucketOf.includes(bucket));
    for (const length of used) await this.#openStep(length);
    const data = new Map(used.map((length) => [length, this.#cut(train, texts, length)]));
    const isCut = [...data.values()].some(
      ({ dataset }) => dataset.labels?.shape.join() !== train.labels?.shape.join(),
    );
    const terms = this.#how.terms.filter(({ labels }) => labels !== undefined || isCut);
    await checkLabels(train, texts, terms);
    return {
      order: (seed, epoch) => orderInBuckets(train, texts, { batch: batchOf(ports), seed, epoch }),
      feeder: (seed, options) => {
        const { onMessage: _, ...quiet } = options;
        const feeders = [...data].map(([length, { ports, dataset }], i) => {
          const own = new StepFeeder(ports, dataset, seed, i === 0 ? options : quiet);
          return [length, own] as const;
        });
        return new BucketFeeder(texts, new Map(feeders));
      },
    };
  }

  async #openStep(length: number): Promise<void> {
    if (this.#opened.has(length)) return;
    const opened = await this.#how.open(length);
    this.#opened.set(length, opened);
    const [ours, longest] = [opened, this.#longest].map(({ step }) => stateForms(step.ports)) as [
      Map<string, string>,
      Map<string, string>,
    ];
    const other = [...longest].find(([input, form]) => ours.get(input) !== form);
    if (other === undefined && ours.size === longest.size) return;
    throw new SorthError(
      `the step for texts of ${length} tokens keeps ${other ? `"${other[0]}"` : "its state"} in another form than the longest one: leave ${length} out of the buckets`,
    );
  }

  /** The ports of a bucket's step, and the samples as it reads them. */
  #cut(train: Dataset, texts: TextBuckets, length: number): { ports: StepPorts; dataset: Dataset } {
    const { ports: whole } = this.#longest.step;
    const ports = this.#opened.get(length)?.step.ports ?? whole;
    const most = this.#lengths.at(-1) ?? 0;
    if (length === most) return { ports, dataset: train };
    const shapes = new Map(ports.inputs.map(({ name, shape }) => [name, shape.join()]));
    const changed = new Set(
      whole.inputs.filter(({ name, shape }) => shapes.get(name) !== shape.join()).map(({ name }) => name),
    );
    const [own, other] = [ports, whole].map(({ labels }) => elementCount(labels?.shape ?? []));
    const cutsLabels = own !== other || whole.targets?.some((name) => changed.has(name));
    const tokens = tokensOf(train).name;
    const labels = train.labels?.name;
    const dataset = cutTo(train, texts, length, ({ name, shape }) => {
      if (shape.at(-1) !== most) return false;
      return name === labels ? cutsLabels === true : name === tokens || isUsual(name) || changed.has(name);
    });
    return { ports, dataset };
  }
}

/** The form of each tensor of a state. */
const stateForms = (ports: StepPorts): Map<string, string> =>
  new Map(
    statePorts(ports).map(({ input, type, shape, layout }) => [
      input,
      JSON.stringify({ type, shape, layout }),
    ]),
  );

/** @throws UsageError for a model whose results depend on padding */
function checkLeavesPaddingOut({ inputs }: StepPorts): void {
  if (inputs.some(({ name }) => name === attention)) return;
  throw new UsageError(
    `the model has no input ${attention}, so that its results depend on the padding that buckets leave out: leave buckets out (--buckets)`,
  );
}

/** Runs the step for whose length the feeds are; all sessions have the same state. */
class BucketSession implements StepSession {
  readonly #longest: StepSession;
  readonly #opened: ReadonlyMap<number, Opened>;

  constructor({ session }: Opened, opened: ReadonlyMap<number, Opened>) {
    this.#longest = session;
    this.#opened = opened;
  }

  async run(feeds: StepFeeds): Promise<readonly StepResult[]> {
    const own = [...this.#opened.values()].find(({ step }) =>
      step.ports.inputs.every(({ name, shape }) => feeds.get(name)?.dims.join() === shape.join()),
    );
    return (own?.session ?? this.#longest).run(feeds);
  }

  undo(): void {
    this.#longest.undo();
  }

  state(): ReadonlyMap<string, Tensor> | undefined {
    return this.#longest.state();
  }

  readState(): Promise<ReadonlyMap<string, Tensor>> {
    return this.#longest.readState();
  }

  held(): ReadonlyMap<string, Fed> | undefined {
    return this.#longest.held?.();
  }

  restore(state: ReadonlyMap<string, Tensor>): void {
    this.#longest.restore(state);
  }

  async release(): Promise<void> {
    for (const { session } of this.#opened.values()) await session.release();
  }
}

/** Reads each batch as the samples of its bucket. */
class BucketFeeder implements Feeder {
  readonly #texts: TextBuckets;
  readonly #feeders: ReadonlyMap<number, Feeder>;
  #now: Feeder | undefined;

  constructor(texts: TextBuckets, feeders: ReadonlyMap<number, Feeder>) {
    this.#texts = texts;
    this.#feeders = feeders;
  }

  fill(indices: Uint32Array, epoch?: number): Filled {
    this.#now = this.#feeders.get(this.#texts.lengths[bucketOfBatch(this.#texts, indices)] ?? 0);
    return this.#now?.fill(indices, epoch);
  }

  feeds(steps: readonly StepScalars[]): StepFeeds {
    return this.#now?.feeds(steps) ?? new Map();
  }
}

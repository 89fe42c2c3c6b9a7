import { checkText } from "../check-arguments.ts";
import { UsageError } from "../errors.ts";
import { parsedJson } from "../json.ts";
import { countFromZero } from "../numbers.ts";
import { whatIs } from "../what-is.ts";

/** Figures of a step. A figure that the record lacks is NaN. */
export interface StepPoint {
  readonly step: number;
  readonly epoch: number;
  /** Total loss. */
  readonly loss: number;
  /** Loss without the penalty's part. */
  readonly dataLoss: number;
  /** Share of the weighted penalty in the loss. */
  readonly penaltyShare: number;
  /** Share of each penalty, by name; empty if the record holds only their sum. */
  readonly shares: ReadonlyMap<string, number>;
}

/** Figures after an epoch. */
export interface EpochPoint {
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly penalty: number;
  readonly validationLoss: number;
  readonly accuracy: number;
  readonly samplesPerSecond: number;
  /** Further figures on the held-out samples, by name. */
  readonly metrics: ReadonlyMap<string, number>;
}

/** Mean and spread of a layer's angles. */
export interface LayerSpreadPoint {
  readonly weights?: { readonly mean: number; readonly spread: number };
  readonly responses?: { readonly mean: number; readonly spread: number };
}

/** Angles after an epoch, or before the first. */
export interface AnglePoint {
  readonly step: number;
  readonly epoch: number;
  readonly layers: ReadonlyMap<string, LayerSpreadPoint>;
}

/** Norms of gradients after an epoch, or before the first. */
export interface GradientPoint {
  readonly step: number;
  readonly epoch: number;
  /** ‖w∇R‖ / ‖∇L‖ over all parameters. */
  readonly ratio: number;
  /** Cosine between the two gradients. */
  readonly cosine: number;
  /** The ratio of each parameter, by its name. */
  readonly parameters: ReadonlyMap<string, number>;
}

/** How a run ended. */
export interface EndPoint {
  readonly step: number;
  readonly epoch: number;
  readonly seconds: number;
  readonly samplesPerSecond: number;
  readonly stopped: string | undefined;
}

/** The contents of a run's `run.jsonl`, in order; steps that were repeated after an interruption count once. */
export interface RunRecord {
  readonly steps: readonly StepPoint[];
  readonly epochs: readonly EpochPoint[];
  readonly angles: readonly AnglePoint[];
  readonly gradients: readonly GradientPoint[];
  /** Undefined if the run was cut off. */
  readonly end: EndPoint | undefined;
  /** Planned steps. */
  readonly totalSteps: number;
  /** Steps per epoch; NaN until the first one is done. */
  readonly stepsPerEpoch: number;
  /** The steps after which the run was resumed. */
  readonly resumed: readonly number[];
  /** Lines or events that could not be read. */
  readonly unreadable: number;
}

/**
 * Reads the events of a run; skips events that this version does not know.
 * @param events - as {@link Trainer.fit} and {@link observe} yield them, or parsed lines of `run.jsonl`
 */
export function runRecord(events: Iterable<unknown>): RunRecord {
  if (!isObject(events) || !(Symbol.iterator in events)) {
    throw new UsageError(`events are a list, as fit yields them, not ${whatIs(events)}`);
  }
  const record = new RecordBuilder();
  for (const event of events) record.add(event);
  return record.build();
}

/**
 * Reads `run.jsonl`. A line that is damaged, or was cut off during writing, is counted and left out.
 *
 * @example
 * const { epochs } = parseRunRecord(await readFile("trained.run/run.jsonl", "utf8"));
 */
export function parseRunRecord(text: string): RunRecord {
  checkText("run.jsonl", text);
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return runRecord(lines.map(parsedJson));
}

/** Epochs done at a point of a run. */
export const epochsAt = (
  { stepsPerEpoch }: RunRecord,
  { step, epoch }: { readonly step: number; readonly epoch: number },
): number => (Number.isNaN(stepsPerEpoch) ? epoch : step / stepsPerEpoch);

type Fields = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Fields => typeof value === "object" && value !== null;
const numberOf = (value: unknown): number => (typeof value === "number" ? value : Number.NaN);
const objectOf = (value: unknown): Fields => (isObject(value) ? value : {});
const listOf = (value: unknown): Fields[] => (Array.isArray(value) ? value.filter(isObject) : []);

class RecordBuilder {
  readonly #steps: StepPoint[] = [];
  readonly #epochs: EpochPoint[] = [];
  readonly #angles: AnglePoint[] = [];
  readonly #gradients: GradientPoint[] = [];
  readonly #resumed: number[] = [];
  #end: EndPoint | undefined;
  #totalSteps = Number.NaN;
  #seconds = 0;
  #unreadable = 0;

  add(event: unknown): void {
    if (!isObject(event) || typeof event.event !== "string" || !countFromZero.holds(numberOf(event.step))) {
      this.#unreadable++;
      return;
    }
    const place = { step: event.step as number, epoch: numberOf(event.epoch) };
    if (event.event === "step") this.#step(place, event);
    else if (event.event === "epoch") this.#epochs.push({ ...place, ...epochOf(event) });
    else if (event.event === "angles") this.#angles.push({ ...place, layers: anglesOf(event) });
    else if (event.event === "gradients") this.#gradients.push({ ...place, ...gradientsOf(event) });
    else if (event.event === "end") this.#end = { ...place, ...endOf(event) };
  }

  #step(place: { step: number; epoch: number }, event: Fields): void {
    const { step } = place;
    const seconds = numberOf(event.seconds);
    const last = this.#steps.at(-1)?.step ?? 0;
    // The clock of a resumed run starts again, and the run repeats the steps after its checkpoint.
    if (step <= last || seconds < this.#seconds) {
      if (this.#steps.length > 0) this.#resumed.push(step - 1);
      this.#end = undefined;
      for (const list of [this.#steps, this.#epochs, this.#angles, this.#gradients]) dropFrom(list, step);
    }
    this.#seconds = seconds;
    this.#totalSteps = numberOf(event.totalSteps);
    this.#steps.push({ ...place, ...stepOf(event) });
  }

  build(): RunRecord {
    return {
      ...{ steps: this.#steps, epochs: this.#epochs, angles: this.#angles, gradients: this.#gradients },
      ...{ end: this.#end, totalSteps: this.#totalSteps },
      stepsPerEpoch: (this.#epochs.at(-1)?.step ?? Number.NaN) / (this.#epochs.at(-1)?.epoch ?? 1),
      ...{ resumed: this.#resumed, unreadable: this.#unreadable },
    };
  }
}

/** Removes the points of a step and of later ones from the end of a list. */
function dropFrom(list: { readonly step: number }[], step: number): void {
  while (list.length > 0 && (list.at(-1)?.step ?? -1) >= step) list.pop();
}

function stepOf(event: Fields): Omit<StepPoint, "step" | "epoch"> {
  const loss = numberOf(event.loss);
  const penaltyShare = numberOf(event.penaltyShare);
  // Contribution of each penalty to the loss, its weight and schedule included.
  const penalties = Object.entries(objectOf(event.penalties));
  const share = (value: unknown) => (loss === 0 ? 0 : numberOf(value) / loss);
  return {
    ...{ loss, penaltyShare, dataLoss: loss * (1 - penaltyShare) },
    shares: new Map(penalties.map(([name, value]) => [name, share(value)] as const)),
  };
}

function epochOf(event: Fields): Omit<EpochPoint, "step" | "epoch"> {
  const validation = objectOf(event.validation);
  return {
    ...{ loss: numberOf(event.loss), penalty: numberOf(event.penalty) },
    validationLoss: numberOf(validation.loss),
    accuracy: numberOf(event.accuracy ?? validation.accuracy),
    samplesPerSecond: numberOf(event.samplesPerSecond),
    metrics: new Map(
      Object.entries(objectOf(validation.metrics))
        .filter(([name]) => name !== "accuracy")
        .map(([name, value]) => [name, numberOf(value)] as const),
    ),
  };
}

function anglesOf(event: Fields): AnglePoint["layers"] {
  const figures = (value: unknown) => {
    const { mean, spread } = objectOf(value);
    return isObject(value) ? { mean: numberOf(mean), spread: numberOf(spread) } : undefined;
  };
  return new Map(
    listOf(event.layers).map(({ name, ...layer }) => {
      const [weights, responses] = [figures(layer.weights), figures(layer.responses)];
      return [`${name}`, { ...(weights && { weights }), ...(responses && { responses }) }];
    }),
  );
}

function gradientsOf(event: Fields): Omit<GradientPoint, "step" | "epoch"> {
  const ratio = ({ loss, penalty }: Fields) => numberOf(penalty) / numberOf(loss);
  const total = objectOf(event.total);
  return {
    ratio: ratio(total),
    cosine: numberOf(total.cosine),
    parameters: new Map(listOf(event.parameters).map((norms) => [`${norms.name}`, ratio(norms)])),
  };
}

function endOf(event: Fields): Omit<EndPoint, "step" | "epoch"> {
  return {
    ...{ seconds: numberOf(event.seconds), samplesPerSecond: numberOf(event.samplesPerSecond) },
    stopped: typeof event.stopped === "string" ? event.stopped : undefined,
  };
}

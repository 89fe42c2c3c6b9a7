import type { EpochEvent, StepEvent, TrainingEvent } from "../runtime/events.ts";

/** Where progress is written. */
export interface ProgressStream {
  /** Writes a text; the return value is ignored. */
  write(text: string): unknown;
  readonly isTTY?: boolean;
  /** Width of the terminal in characters. */
  readonly columns?: number;
}

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Four significant digits; a dash for a number that is not finite. */
const short = (value: number): string => (Number.isFinite(value) ? `${+value.toPrecision(4)}` : "–");

/** `1:05`, `2:03:00`. */
export function clockText(seconds: number): string {
  const whole = Math.max(Math.round(seconds), 0);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, i) => (i === 0 ? `${part}` : `${part}`.padStart(2, "0"))).join(":");
}

/**
 * The state of a run in one line of at most `width` characters; parts that do not fit are left out, the last one first.
 * @param secondsLeft - until the run ends; undefined if unknown
 * @param epochSeconds - that the last epoch took; undefined if unknown
 *
 * @example
 * // epoch 1  step 320/1,874  loss 0.2134  penalty 12.3 %  4,210 samples/s  ETA 0:32  lr 0.001  31.2 s/epoch
 */
export function stepText(
  event: StepEvent,
  secondsLeft: number | undefined,
  width: number,
  epochSeconds?: number,
): string {
  const parts = [
    `epoch ${event.epoch}`,
    `step ${number.format(event.step)}/${number.format(event.totalSteps)}`,
    `loss ${short(event.loss)}`,
    ...(event.penaltyShare === 0 ? [] : [`penalty ${percent(event.penaltyShare)}`]),
    `${number.format(event.samplesPerSecond)} samples/s`,
    ...(secondsLeft === undefined ? [] : [`ETA ${clockText(secondsLeft)}`]),
    `lr ${short(event.learningRate)}`,
    ...(epochSeconds === undefined ? [] : [perEpoch(epochSeconds)]),
  ];
  let text = "";
  for (const part of parts) {
    const longer = text === "" ? part : `${text}  ${part}`;
    if (longer.length > width) break;
    text = longer;
  }
  return text === "" ? (parts[0] ?? "").slice(0, Math.max(width, 0)) : text;
}

const perEpoch = (seconds: number): string =>
  `${seconds < 100 ? seconds.toFixed(1) : number.format(seconds)} s/epoch`;

/** Waiting for samples is mentioned from this share of the time on. */
const muchWaiting = 0.05;

/** An epoch's figures in one line: `epoch 2  loss 0.0421  validation loss 0.0512  accuracy 98.6 %  f1 0.9857  …  0:31`. */
export function epochText(event: EpochEvent): string {
  const { accuracy: _, ...metrics } = event.validation?.metrics ?? {};
  const accuracy = event.validation?.accuracy ?? event.accuracy;
  const perplexity = event.validation?.perplexity;
  return [
    `epoch ${event.epoch}`,
    `loss ${short(event.loss)}`,
    ...(event.penalty === 0 ? [] : [`penalty ${short(event.penalty)}`]),
    ...(event.validation ? [`validation loss ${short(event.validation.loss)}`] : []),
    ...(event.validation?.average ? [`(${event.validation.average})`] : []),
    ...(accuracy === undefined ? [] : [`accuracy ${(100 * accuracy).toFixed(2)} %`]),
    ...(perplexity === undefined ? [] : [`perplexity ${perplexity.toPrecision(4)}`]),
    ...Object.entries(event.validation?.losses ?? event.losses ?? {}).map(
      ([name, loss]) => `${name} ${loss.toPrecision(4)}`,
    ),
    ...Object.entries(metrics).map(([name, value]) => `${name} ${short(value)}`),
    `lr ${short(event.learningRate)}`,
    ...(event.waiting < muchWaiting
      ? []
      : [`waited ${Math.round(100 * event.waiting)} % of the time for data`]),
    `${number.format(event.samplesPerSecond)} samples/s`,
    perEpoch(event.epochSeconds),
    clockText(event.seconds),
  ].join("  ");
}

/** Milliseconds between two lines for steps on a stream that is no terminal. */
const logInterval = 60_000;

/** Options of a {@link ProgressLine}. */
export interface ProgressOptions {
  /** Milliseconds between two updates of the line (default 100). */
  readonly interval?: number;
  /** Returns the time in milliseconds; for tests. */
  readonly now?: () => number;
}

/**
 * Shows a run on a stream. A terminal gets one line that is rewritten, and one permanent line per epoch; other streams get
 * the latter and, in long epochs, a line a minute. Without a stream nothing is shown.
 *
 * @example
 * const progress = new ProgressLine(process.stderr);
 * for await (const event of trainer.fit(train, { epochs: 2 })) progress.show(event);
 * progress.clear();
 */
export class ProgressLine {
  readonly #stream: ProgressStream | undefined;
  readonly #interval: number;
  readonly #now: () => number;
  #lastShown = Number.NEGATIVE_INFINITY;
  #firstStep: number | undefined;
  #epochSeconds: number | undefined;
  #open = false;
  /** When the last line was written to a stream that is no terminal. */
  #logged: number | undefined;

  constructor(stream: ProgressStream | undefined, options: ProgressOptions = {}) {
    this.#stream = stream;
    this.#interval = options.interval ?? 100;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Shows an event of {@link Trainer.fit}. */
  show(event: TrainingEvent): void {
    if (event.event === "step") this.#step(event);
    else if (event.event === "epoch") {
      this.clear();
      this.#epochSeconds = event.epochSeconds;
      this.#logged = this.#now();
      this.#stream?.write(`${epochText(event)}\n`);
    }
  }

  /** Removes the rewritten line from the terminal: call it before writing anything else there, and at the end. */
  clear(): void {
    if (this.#open) this.#stream?.write("\r\x1b[K");
    this.#open = false;
    this.#lastShown = Number.NEGATIVE_INFINITY;
  }

  #step(event: StepEvent): void {
    // A resumed run does not start at step 1: the elapsed time belongs to the steps seen here.
    this.#firstStep ??= event.step;
    const stream = this.#stream;
    const now = this.#now();
    this.#logged ??= now;
    const due = stream?.isTTY ? now - this.#lastShown >= this.#interval : now - this.#logged >= logInterval;
    if (!stream || !due) return;
    const done = event.step - this.#firstStep + 1;
    const secondsLeft = ((event.totalSteps - event.step) * event.seconds) / done;
    // On some terminals a line of the full width would wrap.
    const width = stream.isTTY ? (stream.columns || 80) - 1 : Number.POSITIVE_INFINITY;
    const text = stepText(event, secondsLeft, width, this.#epochSeconds);
    if (!stream.isTTY) {
      stream.write(`${text}\n`);
      this.#logged = now;
      return;
    }
    stream.write(`\r${text}\x1b[K`);
    this.#lastShown = now;
    this.#open = true;
  }
}

import { given } from "../given.ts";
import { anyNumber, count } from "../numbers.ts";
import type { EvaluationResult } from "./events.ts";

/** Figures after an epoch that a run keeps. */
export interface EpochFigures {
  /** Counted from 1. */
  readonly epoch: number;
  /** Steps done, counted over all epochs. */
  readonly step: number;
  /** Mean total loss of the epoch's steps. */
  readonly loss: number;
  /** Figures on the held-out samples; absent in a run without any. A model that diverged gives NaN. */
  readonly validation?: Pick<EvaluationResult, "loss" | "accuracy" | "metrics">;
}

/**
 * The finished epochs of a run, in order: what decides between epochs (early stopping, a plateau schedule, which checkpoints
 * are kept) is a function of it, so that a resumed run decides as one that was not stopped. Runs that versions without a
 * history began lack their first epochs.
 */
export type RunHistory = readonly EpochFigures[];

/** The history with a finished epoch. An epoch that is there already is replaced: steps that were repeated count once. */
export function withEpoch(history: RunHistory, { epoch, step, loss, validation }: EpochFigures): RunHistory {
  const before = history.filter((one) => one.epoch < epoch);
  if (!validation) return [...before, { epoch, step, loss }];
  const { loss: validated, accuracy, metrics } = validation;
  const kept = { loss: validated, ...given({ accuracy, metrics }) };
  return [...before, { epoch, step, loss, validation: kept }];
}

/** A history as JSON text gives it back: JSON has no NaN and writes null. @returns undefined for what is no history */
export function historyFromJson(value: unknown): RunHistory | undefined {
  if (!Array.isArray(value)) return undefined;
  const history = value.map(epochFromJson);
  return history.every((epoch) => epoch !== undefined) ? history : undefined;
}

function epochFromJson(value: unknown): EpochFigures | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { epoch, step, loss, validation } = value as { [K in keyof EpochFigures]?: unknown };
  const figure = (given: unknown) => (given === null ? Number.NaN : (given as number));
  if (![epoch, step].every((one) => count.holds(one as number))) return undefined;
  const figures = (validation ?? {}) as { [K in keyof NonNullable<EpochFigures["validation"]>]?: unknown };
  const metrics = Object.entries(figures.metrics ?? {}).map(([name, one]) => [name, figure(one)] as const);
  const numbers = [
    loss,
    validation === undefined ? 0 : figures.loss,
    figures.accuracy ?? 0,
    ...metrics.map(([, one]) => one),
  ];
  if (!numbers.every((one) => one === null || Number.isNaN(one) || anyNumber.holds(one as number)))
    return undefined;
  return withEpoch([], {
    ...{ epoch: epoch as number, step: step as number, loss: figure(loss) },
    ...(validation !== undefined && {
      validation: {
        loss: figure(figures.loss),
        ...(figures.accuracy !== undefined && { accuracy: figure(figures.accuracy) }),
        ...(figures.metrics !== undefined && { metrics: Object.fromEntries(metrics) }),
      },
    }),
  })[0];
}

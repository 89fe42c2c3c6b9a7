import { figureText } from "../angle-figures.ts";
import { type Curve, type CurveOptions, curves, wholeTicks } from "../plots/curves.ts";
import { epochsAt, type LayerSpreadPoint, type RunRecord } from "../run-record.ts";
import type { Elements } from "./elements.ts";

/** The angles of one run after each epoch. */
interface AngleRun {
  /** Its name, if there are several. */
  readonly name: string;
  readonly color: number;
  readonly record: RunRecord;
}

/**
 * Mean and spread of the angles of each layer over the epochs, one figure per layer: weights and responses of a single run,
 * or the weights of several.
 */
export function angleTrends(h: Elements, runs: readonly AngleRun[]): Element {
  const single = runs.length === 1;
  const layers = [
    ...new Set(runs.flatMap(({ record }) => record.angles.flatMap((point) => [...point.layers.keys()]))),
  ];
  const figures = layers.map((layer) => {
    const series = runs.flatMap((run): NamedCurve[] => {
      const weights = curveOf(run, layer, "weights");
      const responses = single ? curveOf(run, layer, "responses") : undefined;
      return [
        ...(weights ? [{ name: single ? "weights" : run.name, color: run.color, ...weights }] : []),
        ...(responses ? [{ name: "responses", color: run.color + 1, ...responses }] : []),
      ];
    });
    const text = series
      .map(({ name, points }) => `${name}: spread ${spreadText(points[0])} → ${spreadText(points.at(-1))}`)
      .join("; ");
    return h.figure(
      layer,
      curves(h.document, series, {
        label: `Mean and spread of the angles of ${layer} after each epoch. ${text}`,
        x: epochAxis(runs.map(({ record }) => record)),
        y: { label: "angle, mean ± spread", tickFormat: (angle: number) => `${angle}°` },
        rule: 90,
      }),
      { legend: h.legend(series), text: `${text}.` },
    );
  });
  return h.figures(...figures);
}

type NamedCurve = Curve & { readonly name: string };

function curveOf(
  { record }: AngleRun,
  layer: string,
  kind: keyof LayerSpreadPoint,
): Omit<Curve, "color"> | undefined {
  const found = record.angles.flatMap((point) => {
    const angles = point.layers.get(layer)?.[kind];
    if (!angles) return [];
    const { mean, spread } = angles;
    return [{ x: epochsAt(record, point), y: mean, low: mean - spread, high: mean + spread }];
  });
  return found.length === 0 ? undefined : { points: found, dots: found.length <= 40 };
}

const spreadText = (point: { readonly y: number; readonly high?: number } | undefined): string =>
  point ? `${figureText((point.high ?? Number.NaN) - point.y, "angle")}°` : "–";

/** The axis of epochs, from before the first to the last. */
export function epochAxis(records: readonly RunRecord[]): CurveOptions["x"] {
  const last = Math.max(
    ...records.flatMap((record) =>
      [...record.epochs, ...record.angles, ...record.gradients].map((point) => epochsAt(record, point)),
    ),
    1,
  );
  return { label: "epoch", domain: [0, last], ticks: wholeTicks(last), tickFormat: "d" };
}

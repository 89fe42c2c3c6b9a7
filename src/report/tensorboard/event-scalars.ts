import type { AnglesEvent, ObservationEvent } from "../../measure/observe.ts";
import type { EvaluationResult, TrainingEvent } from "../../runtime/events.ts";

/** Numbers by the name of their curve. */
export type Scalars = readonly (readonly [tag: string, value: number])[];

/**
 * The curves of an event: `train/…` after each step (`train/penalty` has no weight, `train/penalty/NAME` is what a penalty adds to the loss),
 * `epoch/…` and `validation/…` after each epoch, `angles/…` where a run measures them.
 */
export function scalarsOf(event: TrainingEvent | ObservationEvent): Scalars {
  if (event.event === "step") {
    const { loss, penalty, penalties, penaltyShare, learningRate } = event;
    const names = Object.keys(penalties);
    return [
      ["train/loss", loss],
      ...(names.length === 0
        ? []
        : ([
            ["train/penalty", penalty],
            ["train/penalty_share", penaltyShare],
          ] as const)),
      ...names.map((name) => [`train/penalty/${name}`, penalties[name] ?? Number.NaN] as const),
      ["train/learning_rate", learningRate],
    ];
  }
  if (event.event === "epoch") {
    const { epoch, loss, penalty, penalties, samplesPerSecond, epochSeconds, validation } = event;
    return [
      ["epoch/number", epoch],
      ["epoch/loss", loss],
      ...(Object.keys(penalties).length === 0 ? [] : [["epoch/penalty", penalty] as const]),
      ["epoch/seconds", epochSeconds],
      ["epoch/samples_per_second", samplesPerSecond],
      ...(validation ? evaluationScalars("validation", validation) : []),
    ];
  }
  return event.event === "angles" ? angleScalars(event) : [];
}

/** The curves of an evaluation: `validation/loss`, `validation/accuracy`, and each further figure by its name. */
export function evaluationScalars(
  part: string,
  { samples: _, metrics = {}, ...figures }: EvaluationResult,
): Scalars {
  return Object.entries({ ...metrics, ...figures }).flatMap(([name, value]) =>
    typeof value === "number" ? [[`${part}/${name}`, value] as const] : [],
  );
}

const angleScalars = ({ layers }: AnglesEvent): Scalars =>
  layers.flatMap(({ name, weights, responses }) =>
    Object.entries({ weights, responses }).flatMap(([of, angles]) =>
      angles === undefined
        ? []
        : (["mean", "spread"] as const).map((key) => [`angles/${name}/${of}_${key}`, angles[key]] as const),
    ),
  );

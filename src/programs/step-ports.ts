import { SorthError } from "../errors.ts";
import type { LabelMaker } from "../losses/objective.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import type { AverageKind } from "../optimizers/averages.ts";
import type { StateLayout } from "../passes/training/store-as-read.ts";
import type { Draw } from "../penalties/draws.ts";

/** Key of a step graph's metadata_props under which its ports are written. */
export const portsKey = "sorth.step";

/** A tensor that a step reads under one name and returns, changed, under another. */
export interface StatePort {
  readonly input: string;
  readonly output: string;
  readonly type: DataTypeName;
  readonly shape: readonly number[];
  /** Initial optimizer state if not zeros: this number everywhere, or the numbers of its parameter. */
  readonly start?: number | "parameter";
  /** How the model's numbers are reordered in the step, only in steps that {@link StepOptions.lower} made; `shape` is that of the step. */
  readonly layout?: StateLayout;
}

/** A trained parameter and its optimizer state. */
export interface ParameterPort extends StatePort {
  /** Name of the parameter in the model. */
  readonly name: string;
  /** Optimizer slot (`m`, `v`) to its port. */
  readonly slots: ReadonlyMap<string, StatePort>;
}

/** An input that is fed at every step. */
export interface DataPort {
  readonly name: string;
  readonly type: DataTypeName;
  readonly shape: readonly number[];
  /** The axis that counts the samples; absent if it is the first. */
  readonly batchAxis?: number;
}

/** One of the penalties that make up R = Σ factor · schedule · value. */
export interface PenaltyPort {
  /** The penalty's name; the second with the same penalty is `name.2`, and so on. */
  readonly name: string;
  /** Output: its value, the sum over its layers, without any weight. */
  readonly output: string;
  /** Its weight relative to `penalty_weight`. */
  readonly factor: number;
  /** Scalar input for the factor of its schedule, 1 for no effect; undefined if it has no such input. */
  readonly schedule: string | undefined;
}

/** One of the losses that a combined objective adds up. */
export interface LossPort {
  readonly name: string;
  /** Output: its value without its weight. */
  readonly output: string;
  readonly weight: number;
}

/** An input for random numbers, new ones each epoch or each step. */
export interface DrawPort extends DataPort {
  /** [rows, numbers in a row]. */
  readonly shape: Draw["shape"];
  /** "sphere": every row uniform on the unit sphere; "uniform": numbers from 0 to 1; "normal": mean 0, deviation 1. */
  readonly distribution: Draw["distribution"];
  readonly anew: Exclude<Draw["anew"], "never">;
  /** Distinguishes draws that would otherwise be the same. */
  readonly seed: number;
  /** The model's node whose numbers these are, and the shape of its output; absent for those of penalties. */
  readonly node?: string;
  readonly of?: readonly number[];
}

/** The names by which a step graph is run; also in its `metadata_props` under the key `sorth.step`. */
export interface StepPorts {
  /** The model's own inputs. */
  readonly inputs: readonly DataPort[];
  /** The labels of the objective; undefined for a model that holds its loss. */
  readonly labels: (DataPort & { readonly own?: LabelMaker }) | undefined;
  /** Names of those inputs that take labels or masks: of a model that holds its loss, and of losses that name their arrays. */
  readonly targets?: readonly string[];
  readonly masks: readonly (DataPort & { readonly ratio: number })[];
  readonly draws: readonly DrawPort[];
  readonly parameters: readonly ParameterPort[];
  /** Optimizer state that belongs to no parameter, such as a counter; absent if there is none. */
  readonly shared?: readonly (StatePort & { readonly name: string })[];
  /** Running statistics of BatchNormalization, by the name they have in the model. */
  readonly statistics: readonly (StatePort & { readonly name: string })[];
  /** Which slot of each parameter holds the average of its weights that evaluations and exports take; absent if none is kept. */
  readonly average?: AverageKind;
  /** Scalar inputs, in the loss's type. `penaltyWeight` is undefined without a penalty. */
  readonly scalars: {
    readonly learningRate: string;
    /** Inputs for the learning rates of groups, each with the rate that a schedule multiplies; absent if there are none. */
    readonly rates?: readonly { readonly input: string; readonly rate: number }[];
    readonly step: string;
    /** Absent unless a schedule moves the momentum. */
    readonly momentum?: string;
    readonly penaltyWeight: string | undefined;
    readonly type: "float" | "double";
  };
  readonly loss: string;
  /** R, all penalties together without the penalty weight; undefined without a penalty. */
  readonly penalty: string | undefined;
  /** The penalties that make up R. */
  readonly penalties: readonly PenaltyPort[];
  /** Scalar outputs of a step in float16, which scales its loss. */
  readonly scaling?: {
    /** The scale of this step. */
    readonly scale: string;
    /** 1 if the update was left out because a gradient was not finite, else 0. */
    readonly skipped: string;
  };
  /** The losses that a combined objective adds up; absent for one loss. */
  readonly losses?: readonly LossPort[];
  /**
   * Loop form only ({@link stepLoop}): the input that says how many steps a run does. Inputs, labels, masks, scalars, draws of
   * a step, and the outputs loss, penalty and those of single penalties then have a leading axis over the steps, which the
   * shapes here omit. Draws of an epoch are unchanged.
   */
  readonly count?: string;
}

/** Everything that a step reads and returns changed: parameters, each followed by its slots, shared slots, running statistics. */
export const statePorts = ({
  parameters,
  shared = [],
  statistics,
}: Pick<StepPorts, "parameters" | "shared" | "statistics">): StatePort[] => [
  ...parameters.flatMap((port) => [port, ...port.slots.values()]),
  ...shared,
  ...statistics,
];

/** Outputs that are figures of a step, not state: the loss, R, and each penalty that R is made of. */
export const figureOutputs = ({ loss, penalty, penalties, losses = [], scaling }: StepPorts): string[] => [
  ...new Set([
    ...[loss, ...(penalty === undefined ? [] : [penalty])],
    ...[...penalties, ...losses].map(({ output }) => output),
  ]),
  ...(scaling ? [scaling.scale, scaling.skipped] : []),
];

/** The axis of an input that counts the samples. */
export const batchAxisOfPort = ({ batchAxis = 0 }: DataPort): number => batchAxis;

/** Samples per step. @throws SorthError if no axis of the model's inputs counts samples */
export function batchOf({ inputs, targets = [] }: Pick<StepPorts, "inputs" | "targets">): number {
  const first = inputs.find(({ name }) => !targets.includes(name));
  const batch = first?.shape[batchAxisOfPort(first)];
  if (!batch) throw new SorthError("the model's first input has no batch dimension");
  return batch;
}

/** The ports as JSON. */
export const portsToText = (ports: StepPorts): string =>
  JSON.stringify(ports, (key, value) => {
    if (key === "own") return undefined;
    return value instanceof Map ? Object.fromEntries(value) : value;
  });

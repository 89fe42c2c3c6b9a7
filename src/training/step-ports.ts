import type { DataTypeName } from "../onnx/data-types.ts";

/** Key of a step graph's metadata_props under which its ports are written. */
export const portsKey = "sorth.step";

/** A tensor that a step reads under one name and returns, changed, under another. */
export interface StatePort {
  readonly input: string;
  readonly output: string;
  readonly type: DataTypeName;
  readonly shape: readonly number[];
}

/** A trained parameter and its optimizer state. */
export interface ParameterPort extends StatePort {
  /** Name of the parameter in the model. */
  readonly name: string;
  /** Optimizer slot (`m`, `v`) to its port; slots start as zeros. */
  readonly slots: ReadonlyMap<string, StatePort>;
}

/** An input that is fed at every step. */
export interface DataPort {
  readonly name: string;
  readonly type: DataTypeName;
  readonly shape: readonly number[];
}

/** The names by which a step graph is run; also in its `metadata_props` under the key `sorth.step`. */
export interface StepPorts {
  /** The model's own inputs. */
  readonly inputs: readonly DataPort[];
  /** The labels of the objective; undefined for a model that holds its loss. */
  readonly labels: DataPort | undefined;
  readonly masks: readonly (DataPort & { readonly ratio: number })[];
  readonly parameters: readonly ParameterPort[];
  /** Running statistics of BatchNormalization, by the name they have in the model. */
  readonly statistics: readonly (StatePort & { readonly name: string })[];
  /** Scalar inputs, in the loss's type. `penaltyWeight` is undefined without a penalty. */
  readonly scalars: {
    readonly learningRate: string;
    readonly step: string;
    readonly penaltyWeight: string | undefined;
    readonly type: "float" | "double";
  };
  readonly loss: string;
  readonly penalty: string | undefined;
  /**
   * Loop form only ({@link stepLoop}): the input that says how many steps a run does. Inputs, labels, masks and scalars then
   * have a leading axis over the steps, which the shapes here leave out, and so have the outputs loss and penalty.
   */
  readonly count?: string;
}

/** Everything that a step reads and returns changed: parameters, each followed by its slots, then running statistics. */
export const statePorts = ({ parameters, statistics }: StepPorts): StatePort[] => [
  ...parameters.flatMap((port) => [port, ...port.slots.values()]),
  ...statistics,
];

/** The ports as JSON. */
export const portsToText = (ports: StepPorts): string =>
  JSON.stringify(ports, (_, value) => (value instanceof Map ? Object.fromEntries(value) : value));

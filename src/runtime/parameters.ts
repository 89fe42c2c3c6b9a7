import { UsageError } from "../errors.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import { initialTensors } from "../programs/initial-state.ts";
import type { StatePort, StepPorts } from "../programs/step-ports.ts";
import type { TrainerState } from "../programs/trainer-state.ts";
import type { TrainerOptions } from "./trainer-options.ts";

/** The numbers of one trained parameter, or of one running statistic. */
export interface ParameterValues {
  readonly name: string;
  readonly shape: readonly number[];
  /** Row by row, the last axis fastest; float64 for a parameter of a float64 model. */
  readonly values: Float32Array | Float64Array;
}

/** Options of `Trainer.parameters`. */
export interface ParametersOptions {
  /** One vector with the numbers of all parameters, one after another, in place of a list; default false. */
  readonly flat?: boolean;
  /** The running statistics of BatchNorm too, after the parameters: `running_mean`, `running_var`; default false. */
  readonly statistics?: boolean;
}

/** What `Trainer.parameters` returns: a list, or with `flat` one vector. */
export type ParameterForm<O extends ParametersOptions> = O extends { readonly flat: true }
  ? Float32Array | Float64Array
  : O extends { readonly flat: boolean }
    ? Float32Array | Float64Array | ParameterValues[]
    : ParameterValues[];

/** What `Trainer.setParameters` accepts: one vector, or a list of named or of plain arrays in the order of `parameters`. */
export type NewParameters =
  | ArrayLike<number>
  | readonly Pick<ParameterValues, "name" | "values">[]
  | readonly ArrayLike<number>[];

/** Options of `Trainer.setParameters`. */
export interface SetParametersOptions {
  /**
   * `keep` (default): moments, averages and counters of the optimizer go on, as with PyTorch's `load_state_dict` of a model;
   * `reset`: they begin again, as a new optimizer's do.
   */
  readonly optimizer?: "keep" | "reset";
}

const parametersNames = {
  flat: "flag",
  statistics: "flag",
} as const satisfies OptionNames<ParametersOptions>;
const setParametersNames = { optimizer: true } as const satisfies OptionNames<SetParametersOptions>;

type NamedPort = StatePort & { readonly name: string };
type Numbers = Float32Array | Float64Array;

const portsOf = ({ parameters, statistics }: StepPorts, withStatistics: boolean): readonly NamedPort[] =>
  withStatistics ? [...parameters, ...statistics] : parameters;

/** Copies of the numbers of a state, in the order of the ports. */
export function parametersOf(
  ports: StepPorts,
  { parameters, statistics }: TrainerState,
  options: ParametersOptions = {},
): ParameterValues[] | Numbers {
  checkKnown("parameters", options, parametersNames);
  const { flat = false, statistics: withStatistics = false } = options;
  const list = portsOf(ports, withStatistics).map(({ name, shape }): ParameterValues => {
    const values = (parameters.get(name) ?? statistics.get(name))?.data as Numbers;
    return { name, shape: [...shape], values };
  });
  if (!flat) return list;
  const vector = emptyNumbers(
    list.some(({ values }) => values instanceof Float64Array),
    list.reduce((sum, { values }) => sum + values.length, 0),
  );
  let at = 0;
  for (const { values } of list) {
    vector.set(values, at);
    at += values.length;
  }
  return vector;
}

/**
 * The state that numbers from outside make: the parameters, the running statistics if they are given too, and, where the
 * optimizer begins again, its state.
 * @throws UsageError for numbers that do not fit, or that are not finite
 */
export function givenState(
  ports: StepPorts,
  given: NewParameters,
  options: SetParametersOptions,
  { groups = [], statistics }: Pick<TrainerOptions, "groups"> & Pick<TrainerState, "statistics">,
): Partial<TrainerState> {
  checkKnown("setParameters", options, setParametersNames);
  const { optimizer = "keep" } = options;
  if (optimizer !== "keep" && optimizer !== "reset") {
    throw new UsageError(`the optimizer is to "keep" its state or to "reset" it, not "${optimizer}"`);
  }
  const tensors = new Map(
    arraysOf(ports, given).map(({ port, values }) => [port.name, tensorOf(port, values)]),
  );
  const isStatistic = (name: string) => ports.statistics.some((port) => port.name === name);
  const state = {
    parameters: new Map([...tensors].filter(([name]) => !isStatistic(name))),
    statistics: new Map([...tensors].filter(([name]) => isStatistic(name))),
  };
  if (optimizer === "keep") return state;
  if (groups.some(({ freezeUntil }) => freezeUntil !== undefined)) {
    throw new UsageError(
      "an optimizer that begins again would freeze a group again, which counts updates: leave freezeUntil (freeze-until) out, or keep the optimizer's state",
    );
  }
  return { ...state, ...freshSlots(ports, new Map([...statistics, ...tensors])), updates: 0 };
}

/** The optimizer's state of a run that begins with some parameters. */
function freshSlots(
  ports: StepPorts,
  initial: ReadonlyMap<string, Tensor>,
): Pick<TrainerState, "slots" | "shared"> {
  const tensors = initialTensors({ ports, initial });
  const tensor = ({ input }: StatePort) => tensors.get(input) as Tensor;
  return {
    slots: new Map(
      ports.parameters.map(({ name, slots }) => [
        name,
        new Map([...slots].map(([slot, port]) => [slot, tensor(port)])),
      ]),
    ),
    shared: new Map((ports.shared ?? []).map((port) => [port.name, tensor(port)])),
  };
}

interface GivenArray {
  readonly port: NamedPort;
  readonly values: ArrayLike<number>;
}

/** The array of each port, from any of the accepted forms. */
function arraysOf(ports: StepPorts, given: NewParameters): GivenArray[] {
  const isList = Array.isArray(given) && typeof given[0] === "object" && given[0] !== null;
  if (!isList) return cut(ports, given as ArrayLike<number>);
  const list = given as readonly (ArrayLike<number> | Partial<ParameterValues>)[];
  const isNamed = list.some((one) => !ArrayBuffer.isView(one) && !Array.isArray(one));
  return isNamed
    ? byName(ports, list as readonly Partial<ParameterValues>[])
    : inOrder(ports, list as readonly ArrayLike<number>[]);
}

/** A vector cut into the arrays of the ports. */
function cut(ports: StepPorts, vector: ArrayLike<number>): GivenArray[] {
  if (!isNumbers(vector)) {
    throw new UsageError(
      "parameters are a vector of numbers, or a list of arrays as trainer.parameters() returns it",
    );
  }
  const lengths = [false, true].map((all) =>
    portsOf(ports, all).reduce((sum, { shape }) => sum + elementCount(shape), 0),
  );
  const [own = 0, all = 0] = lengths;
  if (vector.length !== own && vector.length !== all) {
    const also = all === own ? "" : `, and ${all} with the running statistics`;
    throw new UsageError(
      `the vector has ${vector.length} numbers, but the ${ports.parameters.length} parameters of this run have ${own}${also}: the other run has another model, or trains other parameters of it`,
    );
  }
  let at = 0;
  return portsOf(ports, vector.length === all).map((port) => {
    const begin = at;
    at += elementCount(port.shape);
    const values = ArrayBuffer.isView(vector) ? (vector as Float32Array).subarray(begin, at) : undefined;
    return { port, values: values ?? Array.prototype.slice.call(vector, begin, at) };
  });
}

function inOrder(ports: StepPorts, list: readonly ArrayLike<number>[]): GivenArray[] {
  const both = portsOf(ports, true);
  const own = ports.parameters.length;
  if (list.length !== own && list.length !== both.length) {
    const also = both.length === own ? "" : `, and ${both.length} with the running statistics`;
    throw new UsageError(`there are ${list.length} arrays, but this run has ${own} parameters${also}`);
  }
  return list.map((values, i) => ({ port: both[i] as NamedPort, values }));
}

function byName(ports: StepPorts, list: readonly Partial<ParameterValues>[]): GivenArray[] {
  const byNameGiven = new Map<string, Partial<ParameterValues>>();
  const both = portsOf(ports, true);
  for (const one of list) {
    const { name } = one ?? {};
    if (name === undefined) throw new UsageError("an element of the list has no name: give { name, values }");
    if (!both.some((port) => port.name === name)) {
      throw new UsageError(
        `this run has no parameter "${name}": it trains ${ports.parameters.map((port) => port.name).join(", ")}`,
      );
    }
    if (byNameGiven.has(name)) throw new UsageError(`the parameter "${name}" is given twice`);
    byNameGiven.set(name, one);
  }
  const withStatistics = ports.statistics.some(({ name }) => byNameGiven.has(name));
  return portsOf(ports, withStatistics).map((port) => {
    const one = byNameGiven.get(port.name);
    if (!one) {
      throw new UsageError(
        `the parameter "${port.name}" is missing: give all of them, or some by trainer.takeOver`,
      );
    }
    const { shape = port.shape, values } = one;
    if (shape.join() !== port.shape.join()) {
      throw new UsageError(
        `the parameter "${port.name}" has the shape [${shape}], but [${port.shape}] in this run`,
      );
    }
    return { port, values: values as ArrayLike<number> };
  });
}

/** Whether a value is an array of numbers, not of 64-bit integers, texts or arrays. */
const isNumbers = (values: ArrayLike<number>): boolean =>
  typeof values === "object" &&
  Number.isInteger(values?.length) &&
  (values.length === 0 || typeof values[0] === "number");

/** Copies the numbers of one parameter. @throws UsageError for another count, and for numbers that are not finite */
function tensorOf({ name, type, shape }: NamedPort, values: ArrayLike<number>): Tensor {
  if (!isNumbers(values)) throw new UsageError(`the values of "${name}" are not an array of numbers`);
  const count = elementCount(shape);
  if (values.length !== count) {
    throw new UsageError(
      `the parameter "${name}" has ${values.length} numbers, but its shape [${shape}] takes ${count}`,
    );
  }
  const own = emptyNumbers(type === "double", count);
  own.set(values);
  const bad = own.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return Tensor.of(name, type, shape, own);
  const written = Number.isFinite(values[bad]) ? `${values[bad]}, too large for float32` : `${values[bad]}`;
  throw new UsageError(
    `number ${bad + 1} of the parameter "${name}" is ${written}: a run that diverged must not reach the others; nothing was set`,
  );
}

const emptyNumbers = (isDouble: boolean, length: number): Numbers =>
  isDouble ? new Float64Array(length) : new Float32Array(length);

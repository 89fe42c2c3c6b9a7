import { RuntimeError, SorthError, UsageError } from "../errors.ts";
import { tagOf } from "../known-options.ts";
import { Tensor } from "../onnx/tensor.ts";
import type { AverageKind } from "../optimizers/averages.ts";
import { isObject, whatIs } from "../what-is.ts";
import { inModel } from "./state-layout.ts";
import type { StatePort, StepPorts } from "./step-ports.ts";

/** The state that a run has reached, by the names in the model. */
export interface TrainerState {
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Running statistics of BatchNorm. */
  readonly statistics: ReadonlyMap<string, Tensor>;
  /** The optimizer's state of each parameter: slot (`m`, `v`) to tensor. */
  readonly slots: ReadonlyMap<string, ReadonlyMap<string, Tensor>>;
  /** The optimizer's state that belongs to no parameter, such as a counter; absent if there is none. */
  readonly shared?: ReadonlyMap<string, Tensor>;
  /** Updates done so far. */
  readonly updates: number;
}

/** The state that a session holds in the step's form, under the names of its inputs. The numbers are copied, in the model's form. */
export function stateOf(
  ports: StepPorts,
  session: ReadonlyMap<string, Tensor>,
  updates: number,
): TrainerState {
  const named = (list: readonly NamedPort[]) => copies(session, list);
  return {
    parameters: named(ports.parameters),
    statistics: named(ports.statistics),
    slots: new Map(
      ports.parameters.map(({ name, slots }) => [
        name,
        named([...slots].map(([slot, port]) => ({ ...port, name: slot }))),
      ]),
    ),
    ...(ports.shared && { shared: named(ports.shared) }),
    updates,
  };
}

/** The part of {@link stateOf} that a model holds: the parameters, or the averages in their place, and the running statistics. */
export function weightsOf(
  { parameters, statistics }: Pick<StepPorts, "parameters" | "statistics">,
  session: ReadonlyMap<string, Tensor>,
  average: AverageKind | undefined,
): Map<string, Tensor> {
  const own = parameters.map((port) => ({
    ...((average && port.slots.get(average)) ?? port),
    name: port.name,
  }));
  return copies(session, [...own, ...statistics]);
}

/** A state and its name. */
type NamedPort = StatePort & { readonly name: string };

/** Copies of some tensors of a session, in the model's form. */
function copies(session: ReadonlyMap<string, Tensor>, list: readonly NamedPort[]): Map<string, Tensor> {
  return new Map(
    list.map((port) => {
      const { name, input, layout } = port;
      const tensor = session.get(input);
      if (!tensor) throw new RuntimeError(`the session lost "${name}"`);
      const { type, dims, data } = inModel(port, tensor);
      return [name, Tensor.of(name, type, dims, layout ? data : (data.slice() as typeof data))];
    }),
  );
}

/** The inputs of a graph that take a state; a graph of gradients alone has no slots. */
interface StateInputs {
  readonly parameters: readonly {
    readonly name: string;
    readonly input: string;
    readonly slots?: ReadonlyMap<string, { readonly input: string }>;
  }[];
  readonly shared?: readonly { readonly name: string; readonly input: string }[];
  readonly statistics: readonly { readonly name: string; readonly input: string }[];
}

/** The same state under the names of the session's inputs. @throws SorthError for what the session does not have */
export function sessionTensors(ports: StateInputs, state: Partial<TrainerState>): Map<string, Tensor> {
  for (const kind of ["parameters", "statistics", "shared", "slots"] as const) {
    const given: unknown = state[kind];
    const isMap = tagOf(given) === "Map";
    if (given !== undefined && !(isMap && [...(given as Map<string, unknown>).values()].every(isObject))) {
      throw new UsageError(
        `${kind} of a state are a Map by name, as trainer.state() gives them, not ${whatIs(given)}`,
      );
    }
  }
  const tensors = new Map<string, Tensor>();
  const missing = (name: string) => new SorthError(`the state names "${name}", which this run does not have`);
  for (const [kind, list] of [
    [state.parameters, ports.parameters],
    [state.statistics, ports.statistics],
    [state.shared, ports.shared ?? []],
  ] as const) {
    for (const [name, tensor] of kind ?? []) {
      const port = list.find((one) => one.name === name);
      if (!port) throw missing(name);
      tensors.set(port.input, tensor);
    }
  }
  for (const [name, slots] of state.slots ?? []) {
    const port = ports.parameters.find((parameter) => parameter.name === name);
    for (const [slot, tensor] of slots) {
      const input = port?.slots?.get(slot)?.input;
      if (input === undefined) throw missing(`${name}.${slot}`);
      tensors.set(input, tensor);
    }
  }
  return tensors;
}

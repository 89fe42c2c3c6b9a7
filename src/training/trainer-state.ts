import { SorthError } from "../errors.ts";
import { Tensor } from "../onnx/tensor.ts";
import type { StepPorts } from "./step.ts";

/** What a run has learned so far, by the names of the model. */
export interface TrainerState {
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Running statistics of BatchNorm. */
  readonly statistics: ReadonlyMap<string, Tensor>;
  /** Parameter to what the optimizer remembers of it: slot (`m`, `v`) to its tensor. */
  readonly slots: ReadonlyMap<string, ReadonlyMap<string, Tensor>>;
  /** Updates done so far. */
  readonly updates: number;
}

/** The state that a session holds under the names of its inputs. The numbers are copied. */
export function stateOf(
  ports: StepPorts,
  session: ReadonlyMap<string, Tensor>,
  updates: number,
): TrainerState {
  const copyOf = (name: string, input: string): Tensor => {
    const tensor = session.get(input);
    if (!tensor) throw new SorthError(`the session lost "${name}"`);
    return Tensor.of(name, tensor.type, tensor.dims, tensor.data.slice() as typeof tensor.data);
  };
  const named = (list: readonly { name: string; input: string }[]) =>
    new Map(list.map(({ name, input }) => [name, copyOf(name, input)]));
  return {
    parameters: named(ports.parameters),
    statistics: named(ports.statistics),
    slots: new Map(
      ports.parameters.map(({ name, slots }) => [
        name,
        new Map([...slots].map(([slot, { input }]) => [slot, copyOf(slot, input)])),
      ]),
    ),
    updates,
  };
}

/** The same state under the names of the session's inputs. @throws SorthError for what the session does not have */
export function sessionTensors(ports: StepPorts, state: Partial<TrainerState>): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  const missing = (name: string) => new SorthError(`the run trains no "${name}", whose state was given`);
  for (const [kind, list] of [
    [state.parameters, ports.parameters],
    [state.statistics, ports.statistics],
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
      const input = port?.slots.get(slot)?.input;
      if (input === undefined) throw missing(`${name}.${slot}`);
      tensors.set(input, tensor);
    }
  }
  return tensors;
}

import type { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import { inputName, nameOutput } from "./ports.ts";
import { scalarsByType } from "./scalars-by-type.ts";
import type { ParameterPort, StatePort } from "./step-ports.ts";

/** A parameter of a graph that is to be updated. */
export interface TrainedParameter {
  /** Its name in the model. */
  readonly name: string;
  readonly value: Typed;
  /** ∂loss/∂parameter, in the parameter's type and shape. */
  readonly gradient: Typed;
}

/**
 * Writes the optimizer into a graph: inputs for its slots, and the outputs `p.next`, `p.m.next` … of every parameter p.
 *
 * @param fed - scalars in the type of the loss; each is cast once where parameters have another
 * @returns the ports of the parameters, in the order given
 */
export function emitUpdates(
  graph: Graph,
  emit: Emit,
  optimizer: Optimizer,
  trained: readonly TrainedParameter[],
  fed: { readonly learningRate: Typed; readonly step: Typed },
): ParameterPort[] {
  const scalars = scalarsByType(emit, fed);
  return trained.map(({ name, value, gradient }): ParameterPort => {
    const slots = optimizer.slots.map((slot) =>
      typed(graph.addInput(inputName(graph, `${value.name}.${slot}`), value.type, value.shape)),
    );
    const next = optimizer.update(emit, { parameter: value, gradient, slots, ...scalars(value.type) });
    return {
      name,
      ...statePort(graph, emit, value, next.parameter),
      slots: new Map(
        optimizer.slots.map((slot, i) => [
          slot,
          statePort(graph, emit, slots[i] as Typed, next.slots[i] as Typed),
        ]),
      ),
    };
  });
}

/** Makes the next value of a state an output, named after the input that it comes from. */
export function statePort(graph: Graph, emit: Emit, input: Typed, next: Typed): StatePort {
  const { name, type, shape } = input;
  return { input: name, output: nameOutput(graph, emit, next, `${name}.next`).name, type, shape };
}

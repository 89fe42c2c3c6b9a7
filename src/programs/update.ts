import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import { sameShape } from "../graph/shapes.ts";
import { type Optimizer, transformationOf } from "../optimizers/optimizer.ts";
import { ownCounts } from "../optimizers/own-count.ts";
import type { LayerMatrix, ParameterSpec, SlotSpec } from "../optimizers/transformation.ts";
import { Update } from "../optimizers/update.ts";
import type { StateLayout } from "../passes/training/store-as-read.ts";
import { inputName, nameOutput } from "./ports.ts";
import type { ParameterPort, StatePort, StepPorts } from "./step-ports.ts";

/** A parameter of a graph that is to be updated. */
export interface TrainedParameter {
  /** Its name in the model. */
  readonly name: string;
  readonly value: Typed;
  /** ∂loss/∂parameter, in the parameter's type and shape. */
  readonly gradient: Typed;
  /** How the model's numbers are reordered in `value`. */
  readonly layout?: StateLayout | undefined;
  /** For the weight of a layer: the matrix that it is. */
  readonly matrix?: LayerMatrix | undefined;
  /** The settings that its group changes. */
  readonly group?: Pick<ParameterSpec, "weightDecay" | "idle" | "rate"> | undefined;
  /** The gradient of its weighted penalties at a value of it, if they are applied beside the optimizer. */
  readonly penaltyGradient?: (at: Typed) => Typed;
}

/** The scalars that a step is fed for its optimizer, in the type of the loss. */
export interface UpdateScalars {
  readonly learningRate: Typed;
  readonly step: Typed;
  /** The learning rates of groups. */
  readonly rates?: readonly Typed[];
  /** The momentum, where a schedule moves it. */
  readonly momentum?: Typed | undefined;
  /** Slots of the run that the graph has an input for already, by name. */
  readonly slots?: ReadonlyMap<string, Typed>;
}

/** The input for the learning rate of a group: its name, and the rate that a schedule multiplies. */
export interface GroupRate {
  readonly name: string;
  readonly rate: number;
}

/** The ports that the optimizer adds to a step. */
export type UpdatePorts = Pick<StepPorts, "parameters" | "shared">;

/**
 * Writes the optimizer into a graph: inputs for its slots, and the outputs `p.next`, `p.m.next` … of every parameter p.
 *
 * The optimizer sees a list of parameters and hands back a list of updates: which tensors those are (the model's own, or
 * several laid end to end) is decided here and nowhere else.
 *
 * A parameter that waits ({@link ParameterSpec.idle}) and its slots keep their numbers until then, and its gradient counts as 0.
 *
 * @param fed - each is cast once where parameters have another type
 * @returns the ports of the parameters, in the order given, and of slots that belong to none
 */
export function emitUpdates(
  graph: Graph,
  emit: Emit,
  optimizer: Optimizer,
  trained: readonly TrainedParameter[],
  fed: UpdateScalars,
): UpdatePorts {
  const transformation = transformationOf(optimizer);
  const parameters = trained.map(({ name, value: { type, shape }, matrix, group, penaltyGradient }) => ({
    ...{ name, type, shape, matrix, penalized: penaltyGradient !== undefined },
    ...group,
  }));
  const [base, ...rates] = [fed.learningRate, ...(fed.rates ?? [])].map((rate) => castOnce(emit, rate));
  /** A value while a parameter is trained, and another one before that. */
  const whileTrained = (value: Typed, before: Typed | number, idle: number | undefined): Typed => {
    if (!idle) return value;
    const begun = emit.once(`${fed.step.name} is after ${idle}`, () => emit.greater(fed.step, idle));
    return emit.where(begun, value, before);
  };
  const ownerOf = ({ of }: SlotSpec) => (of === undefined ? undefined : trained[of]);
  const slots = transformation.init(parameters).map((spec, index) => ({ spec, index }));
  // A parameter's slots stand together, whichever members of a chain they are of.
  slots.sort((a, b) => (a.spec.of ?? trained.length) - (b.spec.of ?? trained.length));
  const state: Typed[] = [];
  for (const { spec, index } of slots) {
    const owner = ownerOf(spec);
    const known = owner ? undefined : fed.slots?.get(spec.name);
    const name = inputName(graph, owner ? `${owner.value.name}.${spec.name}` : spec.name);
    state[index] = known ?? typed(graph.addInput(name, spec.type, spec.shape));
  }
  const result = transformation.emit(emit, {
    ...{ parameters, state },
    updates: trained.map(
      ({ value, gradient, group }) =>
        new Update(emit, value, () => ({ direction: () => whileTrained(gradient, 0, group?.idle) })),
    ),
    learningRate: (of) => {
      const { type, rate = -1 } = typeof of === "string" ? { type: of } : of;
      return (rates[rate] ?? (base as NonNullable<typeof base>))(type);
    },
    momentum: fed.momentum && castOnce(emit, fed.momentum),
    step: ownCounts(emit, castOnce(emit, fed.step)),
    penaltyGradient: ({ name }, at) => {
      const gradient = trained.find((one) => one.name === name)?.penaltyGradient?.(at);
      if (!gradient) throw new RangeError(`"${name}" has no penalty of its own`);
      return gradient;
    },
  });
  const slotPorts = (of: number | undefined, owner?: TrainedParameter) =>
    slots
      .filter(({ spec }) => spec.of === of)
      .map(({ spec: { name, start }, index }) => {
        const next = result.state[index]?.();
        if (!next) throw new SorthError(`the optimizer ${transformation.name} returned no next "${name}"`);
        const before = state[index] as Typed;
        // A slot of another shape than its parameter holds no number for each of the parameter's.
        const alike = owner && sameShape(before.shape, owner.value.shape);
        return {
          name,
          ...statePort(graph, emit, before, whileTrained(next, before, owner?.group?.idle)),
          ...(alike && owner.layout && { layout: owner.layout }),
          ...(start !== 0 && { start }),
        };
      });
  const ports = trained.map((parameter, i): ParameterPort => {
    const { name, value, layout, group } = parameter;
    const next = result.updates[i]?.next();
    if (!next) throw new SorthError(`the optimizer ${transformation.name} returned no update of "${name}"`);
    const after = whileTrained(next, value, group?.idle);
    const port = { ...statePort(graph, emit, value, after), ...(layout && { layout }) };
    const own = slotPorts(i, parameter).map(({ name: slot, ...rest }) => [slot, rest] as const);
    return { name, ...port, slots: new Map(own) };
  });
  const shared = slotPorts(undefined);
  return { parameters: ports, ...(shared.length > 0 && { shared }) };
}

/** A scalar in the type of the parameter that reads it: a model may compute its loss in float64 and hold float32 weights. */
const castOnce =
  (emit: Emit, scalar: Typed) =>
  (type: Typed["type"]): Typed =>
    emit.once(`${scalar.name} as ${type}`, () => emit.cast(scalar, type));

/** Makes the next value of a state an output, named after the input that it comes from. */
export function statePort(graph: Graph, emit: Emit, input: Typed, next: Typed): StatePort {
  const { name, type, shape } = input;
  return { input: name, output: nameOutput(graph, emit, next, `${name}.next`).name, type, shape };
}

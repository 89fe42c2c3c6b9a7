import { checkFields } from "../check-arguments.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { ownCount } from "./own-count.ts";
import type { GradientTransformation, OptimizerOptions, ParameterSpec, SlotSpec } from "./transformation.ts";
import { lazy, Update } from "./update.ts";

/** A slot of each parameter, in the parameter's type and shape. */
export interface ParameterSlot {
  readonly name: string;
  /** Its initial value; default 0. */
  readonly start?: SlotSpec["start"];
}

/** A transformation that treats every parameter alike and apart from the others. */
export interface EachParameter {
  readonly name: string;
  readonly options: OptimizerOptions;
  /** As {@link GradientTransformation.treatment}: absent if the arithmetic depends on a parameter's shape. */
  readonly treatment?: GradientTransformation["treatment"];
  /** A text is the name of a slot that starts as zeros. */
  readonly slots?: readonly (string | ParameterSlot)[];
  /** Emits the transformation of one parameter's update. */
  emit(
    g: Emit,
    one: {
      /** Its name in the model. */
      readonly name: string;
      readonly spec: ParameterSpec;
      readonly update: Update;
      readonly slots: readonly Typed[];
      readonly learningRate: () => Typed;
      /** As {@link TransformationInputs.momentum}. */
      readonly momentum: (() => Typed) | undefined;
      /** The number of the update as the parameter counts it. */
      readonly step: () => Typed;
      /** The same as the run counts it: larger for a parameter that waited. */
      readonly runStep: () => Typed;
    },
  ): { readonly update: Update; readonly slots?: readonly Typed[] };
  /** The same in float64. */
  compute(one: {
    readonly name: string;
    readonly spec: ParameterSpec;
    readonly parameter: readonly number[];
    readonly update: readonly number[];
    readonly slots: readonly (readonly number[])[];
    readonly learningRate: number;
    readonly momentum?: number | undefined;
    readonly step: number;
    readonly runStep: number;
  }): { readonly update: readonly number[]; readonly slots?: readonly (readonly number[])[] };
}

/** Applies a transformation of one parameter to each. */
export function eachParameter(given: EachParameter): GradientTransformation {
  checkFields("eachParameter takes { name, options, emit, compute }", given, "name", "options", "emit");
  const { name, options, treatment, slots = [], emit, compute } = given;
  const slotsOf = <T>(state: readonly T[], i: number) =>
    state.slice(i * slots.length, (i + 1) * slots.length);
  return {
    name,
    options,
    ...(treatment && { treatment }),
    init: (parameters) =>
      parameters.flatMap(({ type, shape }, of) =>
        slots.map((slot): SlotSpec => {
          const { name: slotName, start = 0 } = typeof slot === "string" ? { name: slot } : slot;
          return { name: slotName, of, type, shape, start };
        }),
      ),
    emit: (g, { parameters, updates, state, learningRate, momentum, step }) => {
      const each = updates.map((update, i) => {
        const spec = parameters[i] as ParameterSpec;
        return lazy(() =>
          emit(g, {
            ...{ name: spec.name, spec, update, slots: slotsOf(state, i) },
            learningRate: () => learningRate(spec),
            momentum: momentum && (() => momentum(spec.type)),
            step: () => step(spec),
            runStep: () => step(spec.type),
          }),
        );
      });
      return {
        updates: updates.map(
          ({ parameter }, i) => new Update(g, parameter, () => (each[i] as (typeof each)[number])().update),
        ),
        state: each.flatMap((one) => slots.map((_, k) => () => one().slots?.[k] as Typed)),
      };
    },
    compute: ({ parameters, updates, state, learningRate, momentum, step }) => {
      const results = parameters.map((parameter, i) =>
        compute({
          ...{ name: parameter.name, spec: parameter, parameter: parameter.values, update: updates[i] ?? [] },
          ...{ slots: slotsOf(state, i), learningRate, momentum },
          ...{ step: ownCount(step, parameter), runStep: step },
        }),
      );
      return {
        updates: results.map(({ update }) => [...update]),
        state: results.flatMap((result) => (result.slots ?? []).map((slot) => [...slot])),
      };
    },
  };
}

/** The treatment by a transformation that treats every number of every parameter alike. */
export const alike = (): string => "";

/** One number for each pair of numbers of two arrays. */
export const zipped = (
  a: readonly number[],
  b: readonly number[],
  value: (a: number, b: number) => number,
): number[] => a.map((one, i) => value(one, b[i] ?? Number.NaN));

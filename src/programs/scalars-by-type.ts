import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";

/** The scalars that every update reads. */
interface UpdateScalars {
  readonly learningRate: Typed;
  readonly step: Typed;
}

/**
 * The scalars of an update in the type of the parameter that it changes. They are fed in the type of the loss; a model that
 * computes its loss in float64 and holds its weights in float32 needs both. Each is cast once.
 *
 * @example
 * const scalars = scalarsByType(emit, { learningRate, step });
 * optimizer.update(emit, { parameter, gradient, slots, ...scalars(parameter.type) });
 */
export function scalarsByType(emit: Emit, fed: UpdateScalars): (type: Typed["type"]) => UpdateScalars {
  const known = new Map([[fed.learningRate.type, fed]]);
  return (type) => {
    const found = known.get(type) ?? {
      learningRate: emit.cast(fed.learningRate, type),
      step: emit.cast(fed.step, type),
    };
    known.set(type, found);
    return found;
  };
}

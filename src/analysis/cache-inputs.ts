import type { Graph } from "../graph/graph.ts";
import type { DeclaredDim, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { type DimensionOptions, declaredBatchAxis, fedInputs } from "./dimensions.ts";

/** An input for keys or values of tokens that came before: a decoder's cache. */
export interface CacheInput {
  readonly input: Value;
  readonly declared: readonly DeclaredDim[];
  /** The axis that counts the former tokens, and its length in the file: a name, or 0. */
  readonly axis: number;
  readonly length: DeclaredDim;
}

/** Names of such inputs: `past_key_values.0.key`, `past_0`, `past_key_self_1`. */
const names = /^past([._-]|$)|past_?(key|value|state)/i;
/** Keys and values of an encoder's states are data, not former tokens. */
const ofEncoder = /encoder|cross/i;

/**
 * The inputs of a decoder for former tokens, of which there are none while it is trained or evaluated: float inputs with a
 * usual name and one free axis beside the batch.
 * @param options - a length above 0 that is given for that axis makes the input an ordinary one
 */
export function cacheInputs(graph: Graph, { dims = {} }: DimensionOptions = {}): CacheInput[] {
  const branches = graph.inputs.some(({ name }) => name === cacheBranch);
  return fedInputs(graph).flatMap((input): CacheInput[] => {
    const { name, type, declared } = input;
    if (!declared || !isFloat(type) || !names.test(name) || (ofEncoder.test(name) && !branches)) return [];
    const axis = pastAxis(declared, declaredBatchAxis(input));
    if (axis === undefined) return [];
    const length = declared[axis];
    const given = dims[`${name}.${axis}`] ?? (typeof length === "string" ? dims[length] : undefined);
    return (given ?? 0) === 0 ? [{ input, declared, axis, length }] : [];
  });
}

/** The input of merged decoders that chooses the branch which reads the cache. */
export const cacheBranch = "use_cache_branch";

/** The only axis beside the batch that is free or 0. */
function pastAxis(declared: readonly DeclaredDim[], batchAxis: number): number | undefined {
  const [axis, ...others] = declared.flatMap((dim, at) =>
    at !== batchAxis && (typeof dim !== "number" || dim === 0) ? [at] : [],
  );
  return others.length === 0 ? axis : undefined;
}

/** The options without lengths of former tokens, which only {@link cacheInputs} have. */
export function withoutCache<O extends DimensionOptions>(options: O, caches: readonly CacheInput[]): O {
  const { dims } = options;
  if (!dims || caches.length === 0) return options;
  const ofCache = new Set(caches.flatMap(({ input, axis, length }) => [`${input.name}.${axis}`, length]));
  return {
    ...options,
    dims: Object.fromEntries(Object.entries(dims).filter(([name]) => !ofCache.has(name))),
  };
}

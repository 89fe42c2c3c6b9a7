import type { Graph } from "../graph/graph.ts";
import type { DeclaredDim, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { cacheName } from "./cache-names.ts";
import { type DimensionOptions, declaredBatchAxis, fedInputs } from "./dimensions.ts";

/** An input for keys or values of tokens that came before: a decoder's cache. */
export interface CacheInput {
  readonly input: Value;
  readonly declared: readonly DeclaredDim[];
  /** The axis that counts the former tokens, and its length in the file: a name, or 0. */
  readonly axis: number;
  readonly length: DeclaredDim;
}

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
    if (!declared || !isFloat(type) || !cacheName.test(name) || (ofEncoder.test(name) && !branches))
      return [];
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

/**
 * The options with the lengths of a decoder that reads no former tokens: 0 for them, and for former and new tokens together
 * (`past_sequence_length + sequence_length`) the length of the new ones, where that is known.
 */
export function withEmptyCache<O extends DimensionOptions>(graph: Graph, options: O): O {
  const caches = cacheInputs(graph, options);
  if (caches.length === 0) return options;
  const { dims = {} } = options;
  const past: Record<string, number> = {};
  for (const { input, axis, length } of caches) {
    past[typeof length === "string" ? length : `${input.name}.${axis}`] = 0;
  }
  const last = tokensInput(graph)?.declared?.at(-1);
  const tokens = typeof last === "string" ? dims[last] : last;
  for (const total of totalLengths(graph, caches)) if (tokens !== undefined) past[total] = tokens;
  return { ...withoutCache(options, caches), past };
}

/** The input of the tokens. */
export const tokensInput = (graph: Graph): Value | undefined =>
  graph.inputs.find(({ name }) => name === "input_ids") ?? fedInputs(graph)[0];

/** Names of lengths of former and new tokens together, in inputs beside the cache. */
export function totalLengths(graph: Graph, caches: readonly CacheInput[]): Set<string> {
  const lengths = caches.flatMap(({ length }) => (typeof length === "string" ? [length] : []));
  const ofCache = new Set(caches.map(({ input }) => input));
  const names = fedInputs(graph)
    .filter((input) => !ofCache.has(input) && input !== tokensInput(graph))
    .flatMap(({ declared = [] }) => declared.slice(1))
    .filter((dim) => typeof dim === "string")
    .filter((dim) => /total/i.test(dim) || lengths.some((length) => dim !== length && dim.includes(length)));
  return new Set(names);
}

import type { Graph } from "../graph/graph.ts";
import type { DeclaredDim, Value } from "../graph/node.ts";
import { ownIn } from "../lookup.ts";
import { isFloat } from "../onnx/data-types.ts";
import { cacheName } from "./cache-names.ts";
import { type DimensionOptions, declaredBatchAxis, fedInputs, missingDimensions } from "./dimensions.ts";
import { cacheHeadWidth } from "./head-width.ts";

/** An input for keys or values of tokens that came before: a decoder's cache. */
export interface CacheInput {
  readonly input: Value;
  /** Its lengths in the file; a width of heads that the file names only is a number where the weights say it. */
  readonly declared: readonly DeclaredDim[];
  /** The axis that counts the former tokens, and its length in the file: a name, or 0. */
  readonly axis: number;
  readonly length: DeclaredDim;
  /** Places that the cache needs although no tokens are in it: those of a window that ONNX Runtime moves over the tokens, else 0. */
  readonly places: number;
}

/** Keys and values of an encoder's states are data, not former tokens. */
const ofEncoder = /encoder|cross/i;

/**
 * The inputs of a decoder for former tokens, of which there are none while it is trained or evaluated: float inputs with a
 * usual name and one free axis beside the batch (of several, the one whose name says that it is a length).
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
    const given = dims[`${name}.${axis}`] ?? (typeof length === "string" ? ownIn(dims, length) : undefined);
    if ((given ?? 0) !== 0) return [];
    return [{ input, declared: withWidth(input, declared, dims), axis, length, places: placesOf(input) }];
  });
}

/** The input of merged decoders that chooses the branch which reads the cache. */
export const cacheBranch = "use_cache_branch";

/** The only axis beside the batch that is free or 0; of several, the only one that is named like a length. */
function pastAxis(declared: readonly DeclaredDim[], batchAxis: number): number | undefined {
  const free = [...declared.keys()].filter(
    (at) => at !== batchAxis && (typeof declared[at] !== "number" || declared[at] === 0),
  );
  const named = free.filter((at) => /past|seq|len/i.test(`${declared[at]}`));
  const [axis, ...others] = free.length > 1 ? named : free;
  return others.length === 0 ? axis : undefined;
}

/** Lengths with the width of a head in the last place, where the file only names it (onnxruntime-genai's `kv_cache_dim`). */
function withWidth(
  input: Value,
  declared: readonly DeclaredDim[],
  dims: Readonly<Record<string, number>>,
): readonly DeclaredDim[] {
  const last = declared.length - 1;
  const name = declared[last];
  if (last !== 3 || typeof name === "number") return declared;
  const width = ownIn(dims, name ?? `${input.name}.${last}`) ?? cacheHeadWidth(input);
  return width === undefined ? declared : declared.with(last, width);
}

/** Places of a cache that is as long as a window: an attention with such a cache refuses an empty one. */
function placesOf(input: Value): number {
  const windows = [...input.uses].map(({ node }) =>
    node.flag("sliding_window_cache") ? node.int("local_window_size", 0) : 0,
  );
  return Math.max(0, ...windows);
}

/** Names of the lengths that a cache alone has, and their numbers: of its places and widths of heads. */
function lengthsOfCache({ input, declared, axis, length, places }: CacheInput): Record<string, number> {
  const nameOf = (dim: DeclaredDim, at: number) => (typeof dim === "string" ? dim : `${input.name}.${at}`);
  const found: Record<string, number> = { [nameOf(length, axis)]: places };
  for (const [at, dim] of (input.declared ?? []).entries()) {
    const known = declared[at];
    if (at !== axis && typeof dim !== "number" && typeof known === "number") found[nameOf(dim, at)] = known;
  }
  return found;
}

/** The options without lengths of former tokens, which only {@link cacheInputs} have. */
export function withoutCache<O extends DimensionOptions>(options: O, caches: readonly CacheInput[]): O {
  const { dims } = options;
  if (!dims || caches.length === 0) return options;
  const ofCache = new Set(
    caches.flatMap((cache) => [`${cache.input.name}.${cache.axis}`, ...Object.keys(lengthsOfCache(cache))]),
  );
  return {
    ...options,
    dims: Object.fromEntries(Object.entries(dims).filter(([name]) => !ofCache.has(name))),
  };
}

/**
 * The options with the lengths of a decoder that reads no former tokens: 0 for them (or places that stay unused), and for former and new tokens together
 * (`past_sequence_length + sequence_length`) the length of the new ones, where that is known.
 */
export function withEmptyCache<O extends DimensionOptions>(graph: Graph, options: O): O {
  const caches = cacheInputs(graph, options);
  if (caches.length === 0) return options;
  const { dims = {} } = options;
  const past: Record<string, number> = Object.assign({}, ...caches.map(lengthsOfCache));
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

/** Lengths to ask the user for: those of a cache are known, and a decoder's former and new tokens together are as many as its new ones. */
export function openLengths(graph: Graph, options: DimensionOptions): string[] {
  const totals = totalLengths(graph, cacheInputs(graph, options));
  return missingDimensions(graph, withEmptyCache(graph, options)).filter((name) => !totals.has(name));
}

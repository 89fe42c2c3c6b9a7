import {
  type CacheInput,
  cacheBranch,
  cacheInputs,
  tokensInput,
  totalLengths,
  withoutCache,
} from "../../analysis/cache-inputs.ts";
import type { DimensionOptions } from "../../analysis/dimensions.ts";
import { declaredBatchAxis, fedInputs } from "../../analysis/dimensions.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Value } from "../../graph/node.ts";
import { ownIn } from "../../lookup.ts";
import { Tensor } from "../../onnx/tensor.ts";
import { changed, counted, defineGraphPass, runGraphPass, unchanged } from "../pass.ts";

/**
 * Empties the cache of a decoder: nothing came before the tokens that it is trained on or evaluated with. Former keys and
 * values become constants of length 0, and nothing is put in front of the new ones. An attention mask is as long as the tokens.
 *
 *     k = Concat(past_key_values.0.key [batch, heads, past, d], new)  →  k = new
 *
 * @param options - `batch`: samples in a batch; `dims`: lengths that the user gave
 */
export const emptyCache = defineGraphPass({
  name: "empty-cache",
  options: { batch: undefined, dims: undefined } as {
    readonly batch: number | undefined;
    readonly dims: DimensionOptions["dims"] | undefined;
  },
  run(graph, { batch, dims = {} }) {
    const caches = cacheInputs(graph, { dims });
    if (caches.length === 0) return unchanged("no input takes former keys or values");
    nameByTokens(graph, caches, dims);
    for (const { input, declared, axis } of caches) {
      const batchAxis = declaredBatchAxis(input);
      const shape = declared.map((dim, at) => {
        if (at === axis) return 0;
        if (typeof dim === "number") return dim;
        return at === batchAxis ? (ownIn(dims, dim ?? "") ?? batch ?? 1) : 0;
      });
      graph.inputToInitializer(input, emptyTensor(input, shape));
      input.shape = shape;
      dropFromConcats(graph, input);
      growFromEmpty(input);
    }
    const branch = graph.inputs.find(({ name }) => name === cacheBranch);
    if (branch) graph.inputToInitializer(branch, Tensor.of(cacheBranch, "bool", [1], Uint8Array.of(0)));
    return changed(counted(caches.length, "input"));
  },
});

/** Former and new tokens together are as many as the new ones. */
function nameByTokens(
  graph: Graph,
  caches: readonly CacheInput[],
  dims: Readonly<Record<string, number>>,
): void {
  const totals = totalLengths(graph, caches);
  const length = tokensInput(graph)?.declared?.at(-1);
  for (const input of fedInputs(graph)) {
    input.declared = input.declared?.map((dim) =>
      typeof dim === "string" && totals.has(dim) && ownIn(dims, dim) === undefined ? length : dim,
    );
  }
}

function emptyTensor({ name, type }: Value, shape: readonly number[]): Tensor {
  if (type === "double") return Tensor.of(name, type, shape, new Float64Array(0));
  if (type === "float16" || type === "bfloat16") return Tensor.of(name, type, shape, new Uint16Array(0));
  return Tensor.of(name, "float", shape, new Float32Array(0));
}

/** Two values one after the other, the first of which is empty, are the second. */
function dropFromConcats(graph: Graph, empty: Value): void {
  for (const { node } of [...empty.uses]) {
    const [first, second, ...others] = node.inputs;
    const joined = node.outputs[0];
    if (node.op !== "Concat" || first !== empty || !second || !joined || others.length > 0) continue;
    graph.replaceUses(joined, second, { outputs: true });
    graph.removeNodes(new Set([node]));
  }
}

/** A cache as long as a window of tokens has to be that long; one that grows with the tokens may be empty. */
function growFromEmpty(empty: Value): void {
  for (const { node } of empty.uses) node.attributes.delete("sliding_window_cache");
}

/** Empties the cache of a graph, for a batch of known size. @returns the options without its lengths */
export function emptied<O extends DimensionOptions>(graph: Graph, options: O): O {
  const without = withoutCache(options, cacheInputs(graph, options));
  runGraphPass(emptyCache({ batch: options.batch, dims: options.dims }), graph);
  return without;
}

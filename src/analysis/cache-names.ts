import type { Graph } from "../graph/graph.ts";

/** Names of inputs for keys and values of former tokens: `past_key_values.0.key`, `past_0`, `past_key_self_1`. */
export const cacheName = /^past([._-]|$)|past_?(key|value|state)/i;

/** Whether an input has such a name: only then is the code for caches loaded. */
export const mayHaveCache = (graph: Graph): boolean => graph.inputs.some(({ name }) => cacheName.test(name));

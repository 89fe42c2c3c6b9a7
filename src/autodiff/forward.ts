import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import type { Seed } from "./walk.ts";

/**
 * Forward-mode differentiation by the rules of reverse mode: g(u) = Jᵀu, the vector-Jacobian product, is linear in u, and the
 * gradient of ⟨g(u), t⟩ with respect to u is J·t.
 * Source: J. Townsend, "A new trick for calculating Jacobian vector products", 2017.
 *
 * @returns for each output y its tangent Σ over the variables x of ∂y/∂x · tangent(x); zeros where y depends on none
 * @throws SorthError as {@link backward} does
 */
export async function forward(
  graph: Graph,
  options: {
    /** With the names that messages give them. */
    readonly outputs: readonly { readonly name: string; readonly value: Typed }[];
    /** By variable, its tangent in the variable's shape. */
    readonly tangents: ReadonlyMap<Value, Typed>;
    readonly emit: Emit;
    /** Emits gradients by reverse mode. */
    readonly backward: (
      seeds: readonly Seed[],
      wrt: readonly Value[],
    ) => Map<Value, Typed> | Promise<Map<Value, Typed>>;
  },
): Promise<Map<Value, Typed>> {
  const { outputs, tangents, emit, backward } = options;
  const cotangents = outputs.map(({ value: { type, shape } }) =>
    graph.addInput(graph.freshName("step/cotangent"), type, shape),
  ) as Typed[];
  const transposed = await backward(
    outputs.map(({ name, value }, i) => ({ name, value, gradient: () => cotangents[i] as Typed })),
    [...tangents.keys()],
  );
  const found = await backward(
    [...transposed].map(([variable, value]) => ({
      ...{ name: variable.name, value },
      gradient: () => tangents.get(variable) as Typed,
    })),
    cotangents,
  );
  const products = new Map<Value, Typed>();
  outputs.forEach(({ value: output }, i) => {
    const cotangent = cotangents[i] as Typed;
    const zeros = () => emit.filled(0, output.shape, output.type);
    // Nodes that still read u may read zeros, because J·t does not depend on u.
    if (cotangent.uses.size > 0) graph.replaceUses(cotangent, zeros());
    graph.removeInput(cotangent);
    products.set(output, found.get(cotangent) ?? zeros());
  });
  return products;
}

import type { Site } from "../analysis/site-types.ts";
import { rules } from "../autodiff/table.ts";
import { backward } from "../autodiff/walk.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Node, Value } from "../graph/node.ts";
import { seedsOf } from "../penalties/assemble.ts";
import type { PenaltyPart } from "../penalties/build.ts";
import { addedTo, weightOf } from "../penalties/layer.ts";

/** Which gradients to emit, and the block built so far. */
interface GradientOptions {
  /** The nodes of the penalties' values. */
  readonly block: ReadonlySet<Node>;
  /** w of w·R. */
  readonly weight: number;
  /** Whether the gradient of a response or a parameter is wanted. */
  readonly gradientOf: (value: Value, site: Site) => boolean;
}

/**
 * The gradients of w·R with respect to the values that its penalties read: each response as if nothing came before it, and
 * each parameter as if no response depended on it. The model's own backward part propagates both.
 */
export function gradientsOf(
  g: Emit,
  parts: readonly PenaltyPart[],
  { block, weight, gradientOf }: GradientOptions,
): Map<Value, Typed> {
  const responses = new Set<Value>();
  // Maps weights and biases, as the layers read them, to their parameters.
  const parameters = new Map<Value, Value>();
  for (const part of parts) {
    const { site } = part;
    for (const { operand, parameter } of operandsOf(site)) {
      if (!reads(part, operand, block) || !gradientOf(parameter, site)) continue;
      if (operand === site.response) responses.add(operand);
      else parameters.set(operand, parameter);
    }
  }
  const direct = backward(g.graph, {
    wrt: [...responses, ...parameters.keys()],
    seeds: seedsOf(g, parts, ({ plan: { factor }, value }) =>
      factor * weight === 1 ? undefined : g.scalar(factor * weight, value.type),
    ),
    ...{ rules, emit: g, nodes: block },
  });
  const ofOperands = [...direct].filter(([operand]) => parameters.has(operand));
  const ofParameters = backward(g.graph, {
    wrt: [...new Set(parameters.values())],
    seeds: ofOperands.map(([value, gradient]) => ({ value, gradient: () => gradient })),
    ...{ rules, emit: g },
  });
  return new Map([...[...direct].filter(([value]) => responses.has(value)), ...ofParameters]);
}

/** The values of a layer that a penalty may read, and the parameter that gets each one's gradient. */
function operandsOf(site: Site): { operand: Value; parameter: Value }[] {
  const weight = weightOf(site);
  const added = addedTo(site)?.value;
  return [
    { operand: site.response, parameter: site.response },
    ...(weight ? [{ operand: weight, parameter: site.weight }] : []),
    ...(added && site.bias ? [{ operand: added, parameter: site.bias }] : []),
  ];
}

const reads = ({ slopes }: PenaltyPart, value: Value, block: ReadonlySet<Node>): boolean =>
  slopes ? slopes.some(({ of }) => of === value) : [...value.uses].some(({ node }) => block.has(node));

import type { Site } from "../analysis/site-types.ts";
import { SorthError, UsageError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { shapeText } from "../graph/shapes.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import { appliesTo } from "./applies.ts";
import { type Draw, drawn } from "./draws.ts";
import { PenaltyLayer } from "./layer.ts";
import { type Slope, subjectOf } from "./penalty.ts";
import { chooses, type ResolvedPlan } from "./plan.ts";

/** One penalty of one layer in a graph. */
export interface PenaltyPart {
  readonly plan: ResolvedPlan;
  readonly site: Site;
  /** Unweighted scalar. */
  readonly value: Typed;
  /** Gradients in closed form; undefined where the value's nodes are to be differentiated. */
  readonly slopes: readonly Slope[] | undefined;
}

/** How penalties are put into a graph. */
export interface BuildOptions {
  /** Why a layer takes no penalty at all. */
  readonly refuse?: (site: Site) => string | undefined;
  /** Random numbers in the graph; default constants. */
  readonly draw?: (draw: Draw, plan: ResolvedPlan) => Typed;
  /** Told of layers without a penalty, and remarks. */
  readonly tell: (message: string) => void;
}

/**
 * Emits every penalty of every layer that takes it, layer by layer. A weight that several layers share is penalised once.
 * @throws UsageError when two plans give a layer the same penalty; SorthError when a penalty is no scalar
 */
export function buildPenalties(
  g: Emit,
  plans: readonly ResolvedPlan[],
  sites: readonly Site[],
  { refuse, tell, draw = constantDraws(g, tell) }: BuildOptions,
): PenaltyPart[] {
  const holders = new Map<string, Map<Value, string>>();
  return sites.flatMap((site) => {
    const own = plans.filter((plan) => chooses(plan, site));
    const twice = own.find((plan, i) => own.findIndex((other) => sameName(plan, other)) < i);
    if (twice) {
      throw new UsageError(
        `layer "${site.name}" would get the penalty ${twice.penalty.definition.name} twice; let their include and exclude share no layer`,
      );
    }
    return own.flatMap((plan): PenaltyPart[] => {
      const { label, penalty } = plan;
      const { definition, options } = penalty;
      const reason = refuse?.(site) ?? appliesTo(penalty, site);
      if (reason !== true) {
        tell(`${site.name}: no ${label} penalty: ${reason}`);
        return [];
      }
      if (subjectOf(penalty) === "weights") {
        const known = holders.get(label) ?? new Map<Value, string>();
        holders.set(label, known);
        const holder = known.get(site.weight);
        if (holder !== undefined) {
          tell(`${site.name}: no ${label} penalty of its own: its weight is that of ${holder}`);
          return [];
        }
        known.set(site.weight, site.name);
      }
      const warning = definition.warning?.(site, options);
      if (warning) tell(`${site.name}: ${warning}`);
      const layer = new PenaltyLayer(site, g, (wanted) => draw(wanted, plan));
      const built = definition.build(layer, options);
      const { value, slopes } = "value" in built ? built : { value: built, slopes: undefined };
      if (elementCount(value.shape) !== 1) {
        throw new SorthError(
          `the penalty ${label} of layer "${site.name}" has the shape ${shapeText(value.shape)}; it must be one number`,
        );
      }
      return [{ plan, site, value: g.reshape(value, []), slopes }];
    });
  });
}

const sameName = (a: ResolvedPlan, b: ResolvedPlan): boolean =>
  a.penalty.definition.name === b.penalty.definition.name;

/** Draws as constants of the graph, equal ones shared. What training would draw anew is said. */
export function constantDraws(
  g: Emit,
  tell: (message: string) => void = () => {},
): (draw: Draw, plan: ResolvedPlan) => Typed {
  const told = new Set<string>();
  return (draw, { label }) => {
    if (draw.anew !== "never" && !told.has(label)) {
      told.add(label);
      tell(
        `penalty ${label}: its random numbers are constants here; train draws them anew each ${draw.anew}`,
      );
    }
    return g.once(`draw ${JSON.stringify(draw)}`, () =>
      g.tensorConstant(Tensor.of("", "float", draw.shape, drawn(draw))),
    );
  };
}

/**
 * The same for training sessions of ONNX Runtime.
 * @throws UsageError, when called, for numbers that are to be drawn anew while training: nothing does that there
 */
export function fixedDraws(g: Emit): (draw: Draw, plan: ResolvedPlan) => Typed {
  const constant = constantDraws(g);
  return (draw, plan) => {
    if (draw.anew === "never") return constant(draw, plan);
    const { definition, options } = plan.penalty;
    const form = options.rows === "random" ? `${definition.name} with rows=random` : definition.name;
    throw new UsageError(
      `the penalty ${form} draws random numbers anew each ${draw.anew}, which ONNX Runtime's training sessions do not: train with sorth-onnx, or leave it out`,
    );
  };
}

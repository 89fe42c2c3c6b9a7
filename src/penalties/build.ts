import type { Site } from "../analysis/site-types.ts";
import { SorthError, UsageError } from "../errors.ts";
import { checkEmitted } from "../graph/check-emitted.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { shapeText } from "../graph/shapes.ts";
import { checkChoice } from "../known-options.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import { isObject } from "../what-is.ts";
import { appliesTo, subjectOf } from "./applies.ts";
import { type Draw, drawn } from "./draws.ts";
import { PenaltyLayer } from "./layer.ts";
import type { Slope } from "./penalty.ts";
import { chooses, type ResolvedPlan } from "./plan.ts";

/** One penalty on one layer in a graph. */
export interface PenaltyPart {
  readonly plan: ResolvedPlan;
  readonly site: Site;
  /** Unweighted scalar. */
  readonly value: Typed;
  /** Gradients in closed form; undefined if the value's nodes must be differentiated. */
  readonly slopes: readonly Slope[] | undefined;
  /** Emits a penalty on weights once more, as if the layer had this weight. */
  readonly at: (weight: Typed) => Pick<PenaltyPart, "value" | "slopes">;
}

/** How penalties are added to a graph. */
export interface BuildOptions {
  /** Why a layer takes no penalty at all. */
  readonly refuse?: (site: Site) => string | undefined;
  /** Random numbers in the graph; default constants. */
  readonly draw?: (draw: Draw, plan: ResolvedPlan) => Typed;
  /** Receives messages about layers without a penalty, and remarks. */
  readonly tell: (message: string) => void;
}

/**
 * Emits every penalty for every layer that takes it, layer by layer. A weight that several layers share is penalised once.
 * @throws UsageError if two plans give a layer the same penalty; SorthError if a penalty is not a scalar
 */
export function buildPenalties(
  g: Emit,
  plans: readonly ResolvedPlan[],
  sites: readonly Site[],
  { refuse, tell, draw = constantDraws(g, tell) }: BuildOptions,
): PenaltyPart[] {
  const holders = new Map<string, Map<Value, string>>();
  for (const { penalty, label } of plans) {
    checkChoice(`on of the penalty ${label}`, subjectOf(penalty), ["weights", "responses"]);
  }
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
      const at = (weight?: Typed): ReturnType<PenaltyPart["at"]> => {
        const layer = new PenaltyLayer(site, g, (wanted) => draw(wanted, plan), weight);
        const built = definition.build(layer, options);
        const { value, slopes } =
          isObject(built) && "value" in built ? built : { value: built, slopes: undefined };
        checkEmitted(`build of the penalty ${label}`, value);
        if (elementCount(value.shape) !== 1) {
          throw new SorthError(
            `the penalty ${label} of layer "${site.name}" has the shape ${shapeText(value.shape)}; it must be one number`,
          );
        }
        return { value: g.reshape(value, []), slopes };
      };
      return [{ plan, site, at, ...at() }];
    });
  });
}

const sameName = (a: ResolvedPlan, b: ResolvedPlan): boolean =>
  a.penalty.definition.name === b.penalty.definition.name;

/** Random numbers as constants of the graph; equal draws share one. A message names those that training would draw again. */
export function constantDraws(
  g: Emit,
  tell: (message: string) => void = () => {},
): (draw: Draw, plan: ResolvedPlan) => Typed {
  const told = new Set<string>();
  return (draw, { label }) => {
    if (draw.anew !== "never" && !told.has(label)) {
      told.add(label);
      tell(`penalty ${label}: its random numbers are constants here; train draws new ones each ${draw.anew}`);
    }
    return g.once(`draw ${JSON.stringify(draw)}`, () =>
      g.tensorConstant(Tensor.of("", "float", draw.shape, drawn(draw))),
    );
  };
}

/**
 * The same for ONNX Runtime's training sessions.
 * @throws UsageError, when called, for numbers that must be drawn again during training, which these sessions cannot do
 */
export function fixedDraws(g: Emit): (draw: Draw, plan: ResolvedPlan) => Typed {
  const constant = constantDraws(g);
  return (draw, plan) => {
    if (draw.anew === "never") return constant(draw, plan);
    const { definition, options } = plan.penalty;
    const form = options.rows === "random" ? `${definition.name} with rows=random` : definition.name;
    throw new UsageError(
      `the penalty ${form} needs new random numbers each ${draw.anew}, which ONNX Runtime's training sessions do not draw: train with sorth-onnx, or leave it out`,
    );
  };
}

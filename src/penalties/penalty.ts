import type { Site, SiteOp } from "../analysis/site-types.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import type { PenaltyLayer } from "./layer.ts";
import type { PenaltyReference, PlainLayer } from "./plain-layer.ts";

/** The options of a penalty by name: numbers, texts and switches. */
export type PenaltyOptions = Readonly<Record<string, number | string | boolean>>;

/** The type of options as callers give them: a switch whose default is false may be true. */
export type Settings<O extends PenaltyOptions> = {
  readonly [K in keyof O]: O[K] extends boolean ? boolean : O[K];
};

/** A gradient in closed form. */
export interface Slope {
  /** The value whose gradient this is: the layer's response, weight or bias. */
  readonly of: Value;
  /** weight · ∂value/∂of (default weight 1), in the type and shape of `of`; built when called. */
  readonly gradient: (weight?: Typed) => Typed;
}

/** A penalty of one layer in a graph. */
export interface PenaltyGraph {
  /** Unweighted scalar, float32 (float64 for a float64 model). */
  readonly value: Typed;
  /** Its gradients with respect to all values of the layer that it depends on. Default: the value's own nodes are differentiated. */
  readonly slopes?: readonly Slope[];
}

/** What a penalty reads. A penalty on weights acts only once on a weight that several layers share. */
export type PenaltySubject = "weights" | "responses";

/**
 * A regularizer: one scalar per layer. `name`, `on`, `defaults` and `build` are enough.
 *
 * @example
 * definePenalty({
 *   name: "l1",
 *   on: "weights",
 *   defaults: {},
 *   build: ({ g, weight }) => g.reduceMean(g.abs(weight)),
 * });
 */
export interface PenaltyDefinition<O extends PenaltyOptions> {
  readonly name: string;
  /** One line: what it does. */
  readonly summary?: string;
  /** One line of mathematics; W has one row per unit, Y one row per sample and position. */
  readonly formula?: string;
  /** Paper and equation, and the published code whose conventions it follows. */
  readonly source?: string;
  /** Every option with its default. */
  readonly defaults: O;
  /** What each option means, for documents. */
  readonly about?: Readonly<Record<keyof O & string, string>>;
  /** The permitted values of text options. */
  readonly choices?: { readonly [K in keyof NoInfer<O>]?: readonly O[K][] };
  /** Its usual factor in the loss, used if the caller gives none; default 1. */
  readonly weight?: number;
  /** Named sets of options, `preset=NAME` on the command line; a set may have its own weight. */
  readonly presets?: Readonly<Record<string, Partial<Settings<NoInfer<O>>> & { readonly weight?: number }>>;
  /** Options that are always shown with the penalty's name, even with their default values. */
  readonly said?: readonly (keyof NoInfer<O> & string)[];
  /** Describes what is wrong with options of correct names and types; undefined if nothing is. */
  readonly problem?: (options: Settings<O>) => string | undefined;
  /** Whether it reads the weights or the responses of a layer; a function if that depends on its options. */
  readonly on: PenaltySubject | ((options: Settings<O>) => PenaltySubject);
  /** The frozen vectors with which it compares an adapter; a trainer finds them before the run. */
  readonly frozen?: "earlier-adapters" | "singular-vectors";
  /** Operators whose layers it accepts; default all. */
  readonly ops?: readonly SiteOp[];
  /** True, or why this site gets no penalty; default true. Sites have two or more units, in every group. */
  readonly applies?: (site: Site, options: Settings<O>) => true | string;
  /**
   * Emits the penalty: a scalar, or a scalar with closed-form gradients. Unless the site's rows are fixed, the nodes that
   * compute the value must not contain a batch size.
   */
  readonly build: (layer: PenaltyLayer, options: Settings<O>) => Typed | PenaltyGraph;
  /** Whether it depends on random numbers; default no. */
  readonly seeded?: (options: Settings<O>) => boolean;
  /** Whether it is harmless on the layer that the loss reads. For other penalties on responses, the user gets a remark there. */
  readonly sparesLoss?: (options: Settings<O>) => boolean;
  /** A remark for the user, shown once per site, such as that the penalty cannot reach 0. */
  readonly warning?: (site: Site, options: Settings<O>) => string | undefined;
  /** Float64 reference on plain arrays; verify and tests compare with it. */
  readonly reference?: (layer: PlainLayer, options: Settings<O>) => PenaltyReference;
}

/** A penalty with chosen options, as inject, train and buildStep take it. */
export interface Penalty {
  readonly definition: PenaltyDefinition<PenaltyOptions>;
  readonly options: PenaltyOptions;
}

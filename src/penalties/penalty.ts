import type { Site, SiteOp } from "../analysis/site-types.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import type { PenaltyLayer } from "./layer.ts";
import type { PenaltyReference, PlainLayer } from "./plain-layer.ts";

/** Numbers, texts and switches that a penalty takes, by name. */
export type PenaltyOptions = Readonly<Record<string, number | string | boolean>>;

/** Options as they can be given: a switch whose default is false can be true. */
export type Settings<O extends PenaltyOptions> = {
  readonly [K in keyof O]: O[K] extends boolean ? boolean : O[K];
};

/** A gradient in closed form. */
export interface Slope {
  /** What it is the gradient with respect to: the layer's response, weight or bias. */
  readonly of: Value;
  /** weight · ∂value/∂of (weight 1, if left out), in the type and shape of `of`; built when called. */
  readonly gradient: (weight?: Typed) => Typed;
}

/** A penalty of one layer in a graph. */
export interface PenaltyGraph {
  /** Unweighted scalar, float32 (float64 for a float64 model). */
  readonly value: Typed;
  /** Its gradient with respect to everything of the layer that it depends on; left out, the value's own nodes are differentiated. */
  readonly slopes?: readonly Slope[];
}

/** What a penalty looks at. One on weights acts once on a weight that several layers share. */
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
  /** One line of mathematics; W: one row a unit, Y: one row a sample and position. */
  readonly formula?: string;
  /** Paper and equation, and which published code its conventions follow. */
  readonly source?: string;
  /** Every option with its default. */
  readonly defaults: O;
  /** What each option means, for documents. */
  readonly about?: Readonly<Record<keyof O & string, string>>;
  /** The values that options of type text can take. */
  readonly choices?: { readonly [K in keyof NoInfer<O>]?: readonly O[K][] };
  /** Its factor in the loss where none is given (default 1): what its community uses. */
  readonly weight?: number;
  /** Sets of options under one name, `preset=NAME` on the command line; with a weight of their own where they need one. */
  readonly presets?: Readonly<Record<string, Partial<Settings<NoInfer<O>>> & { readonly weight?: number }>>;
  /** Options that are said wherever the penalty is named to people, also where they are the defaults. */
  readonly said?: readonly (keyof NoInfer<O> & string)[];
  /** What is wrong with options of the right names and types, or undefined. */
  readonly problem?: (options: Settings<O>) => string | undefined;
  /** Whether it reads the weights or the responses of a layer; a function where its options decide that. */
  readonly on: PenaltySubject | ((options: Settings<O>) => PenaltySubject);
  /** Operators whose layers it takes; default all. */
  readonly ops?: readonly SiteOp[];
  /** True, or why this site gets no penalty; default true. Sites have two or more units, in every group. */
  readonly applies?: (site: Site, options: Settings<O>) => true | string;
  /**
   * Emits the penalty: a scalar, or one with closed-form gradients. Unless the site's rows are fixed, what computes the
   * value holds no batch size.
   */
  readonly build: (layer: PenaltyLayer, options: Settings<O>) => Typed | PenaltyGraph;
  /** Whether it depends on random numbers; default no. */
  readonly seeded?: (options: Settings<O>) => boolean;
  /** Whether it does no harm on the layer that the loss reads: a penalty on responses that does not say so is remarked on there. */
  readonly sparesLoss?: (options: Settings<O>) => boolean;
  /** A remark for the user (shown once per site), e.g. that the penalty cannot reach 0. */
  readonly warning?: (site: Site, options: Settings<O>) => string | undefined;
  /** Float64 reference on plain arrays: verify and tests compare with it. */
  readonly reference?: (layer: PlainLayer, options: Settings<O>) => PenaltyReference;
}

/** A regularizer with its options chosen: what inject, train and buildStep take. */
export interface Penalty {
  readonly definition: PenaltyDefinition<PenaltyOptions>;
  readonly options: PenaltyOptions;
}

/** What a penalty looks at, by its options. */
export function subjectOf({ definition: { on }, options }: Penalty): PenaltySubject {
  return typeof on === "function" ? on(options) : on;
}

import type { Site } from "../analysis/site-types.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";

/** Numbers, texts and switches that a penalty takes, by name. */
export type PenaltyOptions = Readonly<Record<string, number | string | boolean>>;

/** Scalar penalty of a site and, where a closed form exists, its gradient with respect to the response. */
export interface PenaltyGraph {
  /** Unweighted scalar, float32 (float64 for a float64 model). */
  readonly value: Typed;
  /** weight · ∂value/∂response (weight 1, if left out), in the response's type and shape; built when called. */
  readonly gradient?: (weight?: Typed) => Typed;
}

/** A regularizer: one scalar per site. */
export interface PenaltyDefinition<O extends PenaltyOptions> {
  readonly name: string;
  /** One line: what it does. */
  readonly summary: string;
  /** Paper and equation. */
  readonly source: string;
  /** Every option with its default. */
  readonly defaults: O;
  /** What is wrong with options of the right names and types, or undefined. */
  readonly problem?: (options: O) => string | undefined;
  /** True, or why this site gets no penalty. */
  readonly applies: (site: Site, options: O) => true | string;
  /**
   * Emits the penalty; `response` is the site's response in the graph that `g` writes. Unless the site's rows are
   * fixed, what computes the value holds no batch size.
   */
  readonly build: (site: Site, response: Typed, g: Emit, options: O) => PenaltyGraph;
  /** A remark for the user (shown once per site), e.g. that the penalty cannot reach 0. */
  readonly warning?: (site: Site, options: O) => string | undefined;
  /** Float64 reference on plain arrays. `responses[row][unit]`. */
  readonly reference: (
    responses: readonly (readonly number[])[],
    options: O,
    groups: number,
  ) => PenaltyReference;
}

/** Value and gradient (`[row][unit]`) in float64. */
export interface PenaltyReference {
  readonly value: number;
  readonly gradient: readonly (readonly number[])[];
}

/** A regularizer with its options chosen: what inject, train and buildStep take. */
export interface Penalty {
  readonly definition: PenaltyDefinition<PenaltyOptions>;
  readonly options: PenaltyOptions;
}

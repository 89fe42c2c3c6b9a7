import type { Site } from "../../analysis/site-types.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { scaled } from "../scaled.ts";
import type { GramSide } from "../weight-matrix.ts";
import { meanOfGroupSums } from "../weight-penalty.ts";

/** Sizes of a group's weight matrix, and the side with fewer products. */
export function smallerSide({ units: all, fanIn, groups }: Site): {
  units: number;
  fanIn: number;
  groups: number;
  side: GramSide;
} {
  const units = all / groups;
  return { units, fanIn, groups, side: fanIn < units ? "inputs" : "units" };
}

/** ‖K − I‖² as the mean over groups, and its pull 4(K − I). */
export function excessOfIdentity(
  g: Emit,
  gram: Typed,
  groups: number,
): { squares: Typed; pull: () => Typed } {
  const excess = g.sub(gram, g.identityMatrix(gram.shape.at(-1) ?? 0, gram.type));
  return {
    squares: meanOfGroupSums(g, g.square(excess), groups),
    pull: () => scaled(g, excess, 4 / groups),
  };
}

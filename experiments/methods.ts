import { penaltyNamed, penaltyNames } from "../src/index.ts";
import type { Stage } from "./training-run.ts";

/** A way to regularize, with one weight to choose. */
export interface Method {
  readonly name: string;
  /** The weight of its source; 1 if the source names none. */
  readonly usual: number;
  /** The penalty as on the command line, without its weight; undefined for AdamW's weight decay. */
  readonly penalty?: string;
}

/** All penalties, SOM's other forms, and plain weight decay. */
export const methods: readonly Method[] = [
  // SOM with the source's λ1 and λ2, which differ from this package's defaults.
  { name: "som", penalty: "som:lambda1=100,lambda2=1", usual: 1 },
  ...penaltyNames
    .filter((name) => name !== "som")
    .map((name) => ({ name, penalty: name, usual: penaltyNamed(name).definition.weight ?? 1 })),
  { name: "som, not of logits", penalty: "som:lambda1=100,lambda2=1,exclude=logits", usual: 1 },
  { name: "som, random rows", penalty: "som:lambda1=100,lambda2=1,rows=random", usual: 1 },
  { name: "som, exact weight angles", penalty: "som:lambda1=100,lambda2=1,angles=weights", usual: 1 },
  { name: "weight decay", usual: 0.1 },
];

/** The options of a training stage for a method. */
export function methodStage({ penalty }: Method, weight: number): Pick<Stage, "penalties" | "weightDecay"> {
  if (penalty === undefined) return { weightDecay: weight };
  return { penalties: [`${penalty}${penalty.includes(":") ? "," : ":"}weight=${weight}`] };
}

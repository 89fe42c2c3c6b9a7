import type { Rule } from "../../src/autodiff/rule.ts";
import type { Value } from "../../src/graph/node.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { runOpened } from "../helpers/opened-models.ts";
import {
  computedGradient,
  dot,
  movedFeeds,
  norm,
  numbersOf,
  products,
  type RuleCase,
  random,
  randomLike,
  sum,
} from "./rule-case.ts";

/** A gradient with respect to one variable beside a difference quotient. */
export interface Slope {
  /** The variable. */
  readonly of: string;
  /** ⟨∇f, u⟩ along a direction u in which that variable alone moves. */
  readonly analytic: number;
  readonly numeric: number;
  /** |analytic − numeric| without the rounding errors of f, relative to the size of what both are made of. */
  readonly error: number;
}

/** Steps of differences where f is not linear. */
export const steps = { float: 2 ** -8, double: 1e-5 };

/** Unit roundoff of the types. */
const roundoff = { float: 2 ** -24, double: 2 ** -53 };

/**
 * Compares the gradient of f with respect to each variable with a central difference of f in which that variable alone moves.
 * Were all moved at once, a wrong gradient of one could hide behind large gradients of the others. The elements of a
 * direction differ in their signs alone, so that none of them counts less.
 */
export async function slopesOf(
  variables: readonly Value[],
  f: {
    readonly type: "float" | "double";
    readonly next: () => number;
    readonly step: number;
    readonly feeds: ReadonlyMap<string, Tensor>;
    readonly gradient: (variable: Value) => ArrayLike<number>;
    /** The terms whose sum is f. */
    readonly terms: (feeds: ReadonlyMap<string, Tensor>) => Promise<readonly number[]>;
  },
): Promise<Slope[]> {
  const found: Slope[] = [];
  for (const variable of variables) {
    const u = randomLike(variable, f.next).map((number) => (number < 0 ? -1 : 1));
    const at = (step: number) => f.terms(movedFeeds([variable], f.feeds, [u], step));
    const [behind, before] = [await at(f.step), await at(-f.step)];
    const numeric = (sum(behind) - sum(before)) / (2 * f.step);
    const gradient = f.gradient(variable);
    const analytic = dot(gradient, u);
    const rounding = (8 * roundoff[f.type] * (1 + norm(behind))) / f.step;
    const scale = norm(gradient) * norm(u) + Math.abs(numeric);
    const error = Math.max(Math.abs(analytic - numeric) - rounding, 0) / (scale || 1);
    found.push({ of: variable.name, analytic, numeric, error });
  }
  return found;
}

/** The gradient of a case's f = Σ v·y beside differences. */
export async function directionCheck(testCase: RuleCase, rule: Rule, seed: number) {
  const next = random(seed);
  const computed = await computedGradient(testCase, next);
  const { wrt, feeds, forward, projections, gradients } = computed;
  const slopes = await slopesOf(wrt, {
    ...{ type: testCase.type, next, feeds },
    // Where f is linear in each input, a large step has no other error than a small one and rounds less.
    step: rule.linear ? 1 : steps[testCase.type],
    gradient: (input) => numbersOf(gradients.get(input)),
    terms: async (moved) => {
      const outputs = await runOpened(forward, moved);
      return [...projections].flatMap(([output, v]) =>
        products(numbersOf(outputs.get(output.name)), numbersOf(v)),
      );
    },
  });
  return { ...computed, slopes };
}

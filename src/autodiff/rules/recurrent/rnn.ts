import type { Emit } from "../../../graph/emit.ts";
import type { Typed } from "../../../graph/emit-base.ts";
import { lazy } from "../../lazy.ts";
import type { RuleContext, Thunk } from "../../rule.ts";
import { Sequence } from "./sequence.ts";

/** h = f(W·x + R·h′ + b) (′: the step before), so da = dh∘f′ and dh′ = da·R; the node's h gives f′ of all steps. */
export function rnn(context: RuleContext, _dy: Typed, g: Emit): (Thunk | null)[] {
  const sequence = new Sequence(context, g);
  const pass = lazy(() => backward(sequence, g));
  return [...sequence.gradients(() => pass().gates), null, () => sequence.stateGradient(pass().initial())];
}

/** Gradients of the functions' arguments [D, T, N, H], and of the initial state. */
function backward(sequence: Sequence, g: Emit): { gates: Typed; initial: () => Typed } {
  const [phi] = sequence.activations(["Tanh"], 1);
  const sums = sequence.sums();
  const slopes = sequence.each(sequence.masked(phi.slope(g, sums, phi.value(g, sums))));
  const before = sequence.throughSums();
  const found: Typed[] = [];
  const initial = sequence.backwards((dh, step) => {
    const da = g.mul(dh, slopes[step] as Typed);
    found.unshift(da);
    return () => before(da, dh, step);
  });
  return { gates: g.concat(found, 1), initial };
}

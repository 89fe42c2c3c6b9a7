import type { Emit } from "../../../graph/emit.ts";
import type { Typed } from "../../../graph/emit-base.ts";
import type { RuleContext, Thunk } from "../../rule.ts";
import type { Activation } from "./activations.ts";
import { Sequence } from "./sequence.ts";

/** h = f(W·x + R·h′ + b) (′: the step before), so da = dh∘f′ and dh′ = da·R; the node's h gives f′ of all steps. */
export function rnn(context: RuleContext, _dy: Typed, g: Emit): (Thunk | null)[] {
  const sequence = new Sequence(context, g);
  const [w, r] = [context.input(1), context.input(2)];
  let computed: { gates: Typed; rows: Typed; initial: () => Typed } | undefined;
  const pass = () => {
    if (!computed) {
      const { gates, initial } = backward(sequence, slopes(context, sequence, g), r, g);
      computed = { gates, rows: sequence.rows(gates), initial };
    }
    return computed;
  };
  return [
    () => sequence.inputGradient(g.matMul(pass().rows, w)),
    () => sequence.weightGradient(pass().rows, sequence.x),
    () => sequence.weightGradient(pass().rows, sequence.rows(sequence.previous)),
    () => {
      const sum = sequence.total(pass().gates);
      return g.concat([sum, sum], 1);
    },
    null,
    () => sequence.stateGradient(pass().initial()),
  ];
}

/** f′ of all steps, [D, T, N, H]. */
function slopes(context: RuleContext, sequence: Sequence, g: Emit): Typed {
  const [phi] = sequence.activations(["Tanh"], 1) as [Activation];
  const bias = sequence.bias();
  const sums = g.add(
    sequence.product(sequence.x, context.input(1), bias && g.add(bias.x, bias.h)),
    sequence.product(sequence.rows(sequence.previous), context.input(2)),
  );
  return sequence.masked(phi.slope(g, sums, phi.value(g, sums)));
}

/** Gradients of the functions' arguments [D, T, N, H], and of the initial state. */
function backward(
  sequence: Sequence,
  slope: Typed,
  r: Typed,
  g: Emit,
): { gates: Typed; initial: () => Typed } {
  const weight = g.unsqueeze(r, [1]);
  const slopes = sequence.each(slope);
  const missing = sequence.missing(r.type);
  const found: Typed[] = [];
  const initial = sequence.backwards((dh, step) => {
    const da = g.mul(dh, slopes[step] as Typed);
    found.unshift(da);
    const lacks = missing?.[step];
    return () => {
      const before = g.matMul(da, weight);
      return lacks ? g.add(before, g.mul(dh, lacks)) : before;
    };
  });
  return { gates: g.concat(found, 1), initial };
}

import type { Emit } from "../../../graph/emit.ts";
import type { Typed } from "../../../graph/emit-base.ts";
import { lazy } from "../../lazy.ts";
import type { RuleContext, Thunk } from "../../rule.ts";
import { Sequence } from "./sequence.ts";

/** Factors of the backward pass, each for all steps: [D, T, N, H]. */
interface Factors {
  /** ∂h/∂(argument of the update gate). */
  readonly update: Typed;
  /** ∂h/∂(argument of the candidate). */
  readonly candidate: Typed;
  /** Derivative of what the candidate reads through the reset gate with respect to that gate's argument. */
  readonly reset: Typed;
  readonly resetGate: Typed;
  /** ∂h/∂h′ without the paths through the gates. */
  readonly kept: Typed;
  /** The value that the reset gate multiplies: Rn·h′ + b with linear_before_reset, else h′. */
  readonly resettable: Typed;
}

/** Gradients of the gates' arguments: of the terms with W (x), and of those with R. */
interface Gradients {
  readonly x: Typed;
  readonly h: Typed;
  readonly initial: () => Typed;
}

/**
 *     z = f(Wz·x + Rz·h′ + bz)     r = f(Wr·x + Rr·h′ + br)     h = (1 − z)∘n + z∘h′      (′: the step before)
 *     n = g(Wn·x + Rn·(r∘h′) + bn), or g(Wn·x + wn + r∘(Rn·h′ + rn)) with linear_before_reset
 *
 * The node outputs h, so matrix products over all steps give the gates of all steps; only dh passes from step to step.
 */
export function gru(context: RuleContext, _dy: Typed, g: Emit): (Thunk | null)[] {
  const sequence = new Sequence(context, g);
  const linear = sequence.node.flag("linear_before_reset");
  const [w, r] = [context.input(1), context.input(2)];
  const pass = lazy(() => {
    const factors = recompute(context, sequence, linear, g);
    return { factors, ...(linear ? linearBackward : backward)(sequence, factors, r, g) };
  });
  return [
    () => sequence.inputGradient(g.matMul(sequence.rows(pass().x), w)),
    () => sequence.weightGradient(sequence.rows(pass().x), sequence.x),
    () => {
      const rows = sequence.rows(pass().h);
      const states = sequence.rows(sequence.previous);
      if (linear) return sequence.weightGradient(rows, states);
      // Rn is applied to r∘h′, the others to h′.
      const [gates, candidate] = g.split(rows, 2, [2 * sequence.hidden, sequence.hidden]) as [Typed, Typed];
      const { resetGate, resettable } = pass().factors;
      const reset = sequence.rows(g.mul(resetGate, resettable));
      return g.concat([sequence.weightGradient(gates, states), sequence.weightGradient(candidate, reset)], 1);
    },
    () => g.concat([sequence.total(pass().x), sequence.total(pass().h)], 1),
    null,
    () => sequence.stateGradient(pass().initial()),
  ];
}

/** Recomputes the gates, and from them the factors of the backward pass. */
function recompute(context: RuleContext, sequence: Sequence, linear: boolean, g: Emit): Factors {
  const [sigma, gamma] = sequence.activations(["Sigmoid", "Tanh"], 2);
  const { hidden, previous } = sequence;
  const bias = sequence.bias();
  const x = sequence.product(sequence.x, context.input(1), bias?.x);
  const [xz, xr, xn] = g.split(x, 3, [hidden, hidden, hidden]) as [Typed, Typed, Typed];
  // The candidate's term Rn·(r∘h′) (without linear_before_reset) needs a product of its own.
  const [rGates, rCandidate] = g.split(context.input(2), 1, [2 * hidden, hidden]) as [Typed, Typed];
  const [bGates, bCandidate] = bias ? (g.split(bias.h, 1, [2 * hidden, hidden]) as [Typed, Typed]) : [];
  const h = sequence.product(sequence.rows(previous), rGates, bGates);
  const [hz, hr] = g.split(h, 3, [hidden, hidden]) as [Typed, Typed];

  const [az, ar] = [g.add(xz, hz), g.add(xr, hr)];
  const [z, resetGate] = [sigma.value(g, az), sigma.value(g, ar)];
  const ofCandidate = (states: Typed) => sequence.product(sequence.rows(states), rCandidate, bCandidate);
  const resettable = linear ? ofCandidate(previous) : previous;
  const reset = g.mul(resetGate, resettable);
  const an = g.add(xn, linear ? reset : ofCandidate(reset));
  const n = gamma.value(g, an);
  return {
    update: sequence.masked(g.mul(g.sub(previous, n), sigma.slope(g, az, z))),
    candidate: sequence.masked(g.mul(g.sub(1, z), gamma.slope(g, an, n))),
    reset: g.mul(resettable, sigma.slope(g, ar, resetGate)),
    resetGate,
    kept: sequence.kept(z),
    resettable,
  };
}

/** With linear_before_reset, all factors of dh are known in advance: da = (dh, dh, dh)∘∂gates, dh′ = da·R + dh∘z. */
function linearBackward(sequence: Sequence, factors: Factors, r: Typed, g: Emit): Gradients {
  const weight = g.unsqueeze(r, [1]);
  const reset = g.mul(factors.candidate, factors.reset);
  const gates = sequence.each(
    g.concat([factors.update, reset, g.mul(factors.candidate, factors.resetGate)], 3),
  );
  const kept = sequence.each(factors.kept);
  const states: Typed[] = [];
  const changes: Typed[] = [];
  const initial = sequence.backwards((dh, step) => {
    const da = g.mul(g.concat([dh, dh, dh], 3), gates[step] as Typed);
    states.unshift(dh);
    changes.unshift(da);
    return () => g.add(g.matMul(da, weight), g.mul(dh, kept[step] as Typed));
  });
  const h = g.concat(changes, 1);
  const shared = g.slice(h, [{ axis: 3, start: 0, length: 2 * sequence.hidden }]);
  return { x: g.concat([shared, g.mul(g.concat(states, 1), factors.candidate)], 3), h, initial };
}

/** Without it, each step first needs the gradient of r∘h′ from the candidate through Rn: two small products per step. */
function backward(sequence: Sequence, factors: Factors, r: Typed, g: Emit): Gradients {
  const { hidden } = sequence;
  const [rGates, rCandidate] = g.split(g.unsqueeze(r, [1]), 2, [2 * hidden, hidden]) as [Typed, Typed];
  const { update, candidate, reset, resetGate, kept } = factors;
  const steps = [update, candidate, reset, resetGate, kept].map((factor) => sequence.each(factor));
  const found: Typed[] = [];
  const initial = sequence.backwards((dh, step) => {
    const [ofUpdate, ofCandidate, ofReset, gate, keep] = steps.map((factor) => factor[step]) as [
      Typed,
      Typed,
      Typed,
      Typed,
      Typed,
    ];
    const dn = g.mul(dh, ofCandidate);
    const dReset = g.matMul(dn, rCandidate);
    const gates = g.concat([g.mul(dh, ofUpdate), g.mul(dReset, ofReset)], 3);
    found.unshift(g.concat([gates, dn], 3));
    return () => g.add(g.add(g.matMul(gates, rGates), g.mul(dReset, gate)), g.mul(dh, keep));
  });
  const all = g.concat(found, 1);
  return { x: all, h: all, initial };
}

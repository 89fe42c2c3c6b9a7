import type { Emit } from "../../../graph/emit.ts";
import type { Typed } from "../../../graph/emit-base.ts";
import { dimAt } from "../../../graph/shapes.ts";
import { lazy } from "../../lazy.ts";
import type { RuleContext, Thunk } from "../../rule.ts";
import type { Activation } from "./activations.ts";
import { Sequence } from "./sequence.ts";

/** Factors that the recomputed forward pass provides to the backward pass, each for all steps: [D, T, N, …]. */
interface Forward {
  /** Cell states before and after each step. */
  readonly previousCells: Typed;
  readonly cells: Typed;
  /** ∂h/∂c within a step: directly and through the output gate's peephole. */
  readonly cellOfHidden: Typed;
  /** [D, T, N, 4·H]: ∂c/∂(gate argument) for i, f and c, ∂h/∂(gate argument) for o, in the order i, o, f, c. */
  readonly gates: Typed;
  /** ∂c/∂c′, where c′ is the cell state of the previous step. */
  readonly cellOfCell: Typed;
}

interface Peepholes {
  readonly i: Typed;
  readonly o: Typed;
  readonly f: Typed;
}

/**
 *     i = f(Wi·x + Ri·h′ + Pi∘c′ + bi)     f = f(Wf·x + Rf·h′ + Pf∘c′ + bf), or 1 − i with input_forget
 *     c = f∘c′ + i∘g(Wc·x + Rc·h′ + bc)    o = f(Wo·x + Ro·h′ + Po∘c + bo)     h = o∘h(c)      (′: the step before)
 *
 * The node outputs h, so two matrix products give the gates of all steps; the cell states take two small operators per
 * step. The factors of dh and dc in the backward pass are computed for all steps at once, so that a step is
 *
 *     dc += dh∘∂h/∂c     da = (dc, dh, dc, dc)∘∂gates     dh′ = da·R     dc′ = dc∘∂c/∂c′
 */
export function lstm(context: RuleContext, _dy: Typed, g: Emit): (Thunk | null)[] {
  const sequence = new Sequence(context, g);
  const peepholes = context.inputs[7] ? peepholesOf(context.inputs[7], sequence, g) : undefined;
  const pass = lazy(() => {
    const forward = recompute(sequence, peepholes, g);
    return { forward, ...backward(sequence, forward, g) };
  });
  return [
    ...sequence.gradients(() => pass().gates),
    null,
    () => sequence.stateGradient(pass().initial()),
    () => sequence.stateGradient(pass().initialCell()),
    () => {
      const { gates, forward } = pass();
      const [i, o, f] = gateParts(gates, g);
      const over = (gate: Typed, cells: Typed) => sequence.total(g.mul(gate, cells));
      const { previousCells, cells } = forward;
      return g.concat([over(i, previousCells), over(o, cells), over(f, previousCells)], 1);
    },
  ];
}

const gateParts = (gates: Typed, g: Emit) => {
  const hidden = dimAt(gates.shape, 3) / 4;
  return g.split(gates, 3, [hidden, hidden, hidden, hidden]) as [Typed, Typed, Typed, Typed];
};

function peepholesOf(p: Typed, sequence: Sequence, g: Emit): Peepholes {
  const { hidden } = sequence;
  const parts = g.split(p, 1, [hidden, hidden, hidden]).map((part) => sequence.row(part));
  const [i, o, f] = parts as [Typed, Typed, Typed];
  return { i, o, f };
}

/** Recomputes gates and cell states, and from them the factors of the backward pass. */
function recompute(sequence: Sequence, peepholes: Peepholes | undefined, g: Emit): Forward {
  const coupled = sequence.node.flag("input_forget");
  const [sigma, gamma, eta] = sequence.activations(["Sigmoid", "Tanh", "Tanh"], 2);
  const [ai, ao, af, ac] = gateParts(sequence.sums(), g);
  const peeped = (sum: Typed, peephole: Typed | undefined, cells: Typed) =>
    peephole ? g.add(sum, g.mul(peephole, cells)) : sum;
  const gatesOf = (i: Typed, f: Typed) => {
    const input = sigma.value(g, i);
    return { i, f, input, forget: coupled ? g.sub(1, input) : sigma.value(g, f) };
  };

  const candidate = gamma.value(g, ac);
  const initial = sequence.initial(6);
  const plain = peepholes ? undefined : gatesOf(ai, af);
  const cells = plain
    ? plainCells(sequence, g, plain.forget, g.mul(plain.input, candidate), initial)
    : peepedCells({
        sequence,
        g,
        sigma,
        coupled,
        peepholes: peepholes as Peepholes,
        initial,
        ai,
        af,
        candidate,
      });
  const previousCells = sequence.before(cells, initial);
  const { i, f, input, forget } =
    plain ?? gatesOf(peeped(ai, peepholes?.i, previousCells), peeped(af, peepholes?.f, previousCells));
  const o = peeped(ao, peepholes?.o, cells);
  const output = sigma.value(g, o);
  const squashed = eta.value(g, cells);

  const dInput = g.mul(coupled ? g.sub(candidate, previousCells) : candidate, sigma.slope(g, i, input));
  const dForget = coupled
    ? g.filled(0, input.shape, input.type)
    : g.mul(previousCells, sigma.slope(g, f, forget));
  const dOutput = g.mul(squashed, sigma.slope(g, o, output));
  const dCandidate = g.mul(input, gamma.slope(g, ac, candidate));
  const through = (direct: Typed, gate: Typed, peephole: Typed | undefined) =>
    peephole ? g.add(direct, g.mul(gate, peephole)) : direct;
  return {
    previousCells,
    cells,
    cellOfHidden: sequence.masked(
      through(g.mul(output, eta.slope(g, cells, squashed)), dOutput, peepholes?.o),
    ),
    gates: sequence.masked(g.concat([dInput, dOutput, dForget, dCandidate], 3)),
    cellOfCell: sequence.kept(
      through(through(forget, dInput, peepholes?.i), dForget, coupled ? undefined : peepholes?.f),
    ),
  };
}

/** Cell states c = f∘c′ + i∘g from gates that are known for all steps. */
function plainCells(
  sequence: Sequence,
  g: Emit,
  forget: Typed,
  added: Typed,
  initial: Typed | undefined,
): Typed {
  const forgets = sequence.each(sequence.kept(forget));
  let cell = initial;
  const cells = sequence.each(sequence.masked(added)).map((part, step) => {
    cell = cell ? g.add(g.mul(forgets[step] as Typed, cell), part) : part;
    return cell;
  });
  return g.concat(cells, 1);
}

/** The same with peepholes, where the gates of a step depend on the previous cell state. */
function peepedCells(parts: {
  sequence: Sequence;
  g: Emit;
  sigma: Activation;
  coupled: boolean;
  peepholes: Peepholes;
  initial: Typed | undefined;
  ai: Typed;
  af: Typed;
  candidate: Typed;
}): Typed {
  const { sequence, g, sigma, coupled, peepholes } = parts;
  const [inputs, forgets] = [sequence.each(parts.ai), coupled ? undefined : sequence.each(parts.af)];
  const missing = sequence.missing(parts.ai.type);
  let cell = parts.initial;
  const cells = sequence.each(parts.candidate).map((candidate, step) => {
    const gate = (sum: Typed, peephole: Typed) =>
      sigma.value(g, cell ? g.add(sum, g.mul(peephole, cell)) : sum);
    const input = gate(inputs[step] as Typed, peepholes.i);
    const forget = forgets ? gate(forgets[step] as Typed, peepholes.f) : g.sub(1, input);
    const added = g.mul(input, candidate);
    const next = cell ? g.add(g.mul(forget, cell), added) : added;
    const lacks = missing?.[step];
    const before = cell ?? g.filled(0, next.shape, next.type);
    cell = lacks ? g.add(next, g.mul(lacks, g.sub(before, next))) : next;
    return cell;
  });
  return g.concat(cells, 1);
}

/** Gradients of the gates' arguments [D, T, N, 4·H], and of both initial states. */
function backward(
  sequence: Sequence,
  { cellOfHidden, gates, cellOfCell }: Forward,
  g: Emit,
): { gates: Typed; initial: () => Typed; initialCell: () => Typed } {
  const factors = [cellOfHidden, gates, cellOfCell].map((factor) => sequence.each(factor));
  const before = sequence.throughSums();
  const found: Typed[] = [];
  const last = sequence.finalGradient(2);
  let initialCell = last && (() => last);
  const initial = sequence.backwards((dh, step) => {
    const [ofHidden, ofGates, ofCell] = factors.map((steps) => steps[step]) as [Typed, Typed, Typed];
    const through = g.mul(dh, ofHidden);
    const carried = initialCell?.();
    const dc = carried ? g.add(carried, through) : through;
    const da = g.mul(g.concat([dc, dh, dc, dc], 3), ofGates);
    found.unshift(da);
    initialCell = () => g.mul(dc, ofCell);
    return () => before(da, dh, step);
  });
  return { gates: g.concat(found, 1), initial, initialCell: initialCell as () => Typed };
}

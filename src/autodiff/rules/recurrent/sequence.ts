import { SorthError } from "../../../errors.ts";
import type { Emit } from "../../../graph/emit.ts";
import { type Typed, typed } from "../../../graph/emit-base.ts";
import type { Node } from "../../../graph/node.ts";
import { dimAt } from "../../../graph/shapes.ts";
import { checkStored } from "../../../graph/stored-lists.ts";
import { lazy } from "../../lazy.ts";
import type { RuleContext } from "../../rule.ts";
import { type Activation, activationsOf, clipped } from "./activations.ts";

/**
 * The data of a recurrent node in the order in which the node processes it, so that one recurrence serves all
 * directions: values are [D, T, N, K] (directions, steps, batch, features), and the steps of a reverse direction are
 * reversed. A sample shorter than the others keeps its state during the steps that it lacks: after its end in a forward
 * direction, before its beginning in a reverse one.
 */
export class Sequence {
  readonly node: Node;
  readonly directions: number;
  readonly steps: number;
  readonly batch: number;
  readonly hidden: number;
  /** X: [D, T·N, features]. */
  readonly x: Typed;
  /** Whether a sample has a step, [D, T, N, 1]; undefined if all samples have all steps. */
  readonly valid: Typed | undefined;
  readonly #context: RuleContext;
  readonly #g: Emit;
  readonly #reversed: readonly boolean[];
  #previous: Typed | undefined;

  /** @throws SorthError for layout 1, which ONNX Runtime does not compute, and for sequences without steps */
  constructor(context: RuleContext, g: Emit) {
    const { node } = context;
    if (node.int("layout", 0) !== 0) {
      throw new SorthError(
        `cannot differentiate ${node.op} (node "${node.label}"): ONNX Runtime does not support layout 1 (batch first); ` +
          "export it with layout 0 and a Transpose around it",
      );
    }
    const x = context.input(0);
    this.node = node;
    this.#context = context;
    this.#g = g;
    this.#reversed = { forward: [false], reverse: [true] }[node.string("direction", "forward")] ?? [
      false,
      true,
    ];
    this.directions = this.#reversed.length;
    this.steps = dimAt(x.shape, 0);
    this.batch = dimAt(x.shape, 1);
    this.hidden = dimAt(context.input(2).shape, 2);
    // Each step gets about ten nodes.
    checkStored(this.steps, 128);
    if (this.steps === 0) {
      throw new SorthError(
        `cannot differentiate ${node.op} (node "${node.label}"): its sequence has no steps`,
      );
    }
    const one = g.unsqueeze(x, [0]);
    const all = this.directions === 1 ? one : g.concat([one, one], 0);
    this.x = this.rows(this.#ordered(all));
    this.valid = this.#present(this.steps);
  }

  /** The functions f, g, h of the node's equations; the first `gates` of them clip their arguments as the node says. */
  activations<const Names extends readonly string[]>(
    defaults: Names,
    gates: number,
  ): { -readonly [K in keyof Names]: Activation } {
    const clip = this.node.attributes.has("clip") ? this.node.float("clip", 0) : undefined;
    const found = activationsOf(this.node, this.directions, defaults).map((activation, index) =>
      index < gates ? clipped(activation, clip) : activation,
    );
    return found as { -readonly [K in keyof Names]: Activation };
  }

  /** [D, T, N, K] → [D, T·N, K], the shape for matrix products over all steps. */
  rows(value: Typed): Typed {
    return this.#g.reshape(value, [this.directions, this.steps * this.batch, dimAt(value.shape, 3)]);
  }

  /** [D, T·N, K] → [D, T, N, K]. */
  sequence(rows: Typed): Typed {
    return this.#g.reshape(rows, [this.directions, this.steps, this.batch, dimAt(rows.shape, 2)]);
  }

  /** One row per direction: [D, K] → [D, 1, 1, K]. */
  row(value: Typed): Typed {
    return this.#g.unsqueeze(value, [1, 2]);
  }

  /** Splits a value into its steps, each [D, 1, N, K]. */
  each(value: Typed): Typed[] {
    return this.#g.split(value, 1, Array<number>(dimAt(value.shape, 1)).fill(1));
  }

  /** The initial state at an input, [D, 1, N, H]; undefined means zeros. */
  initial(input: number): Typed | undefined {
    const value = this.#context.inputs[input];
    return value ? this.#g.unsqueeze(value, [1]) : undefined;
  }

  /** The hidden state before each step, [D, T, N, H], from the node's output Y (added to the node if absent). */
  get previous(): Typed {
    this.#previous ??= this.before(this.#states(), this.initial(5));
    return this.#previous;
  }

  /** States before each step, from the states after each step. */
  before(states: Typed, initial: Typed | undefined): Typed {
    const first = initial ?? this.#zeros();
    if (this.steps === 1) return first;
    const earlier = this.#g.slice(states, [{ axis: 1, start: 0, length: this.steps - 1 }]);
    const known = this.#present(this.steps - 1);
    return this.#g.concat([first, known ? this.#g.where(known, earlier, first) : earlier], 1);
  }

  /** X·Wᵀ or H·Rᵀ for all gates and steps, plus its half of the bias B: [D, T, N, gates·H]. */
  product(rows: Typed, weight: Typed, bias?: Typed): Typed {
    const sums = this.sequence(this.#g.matMul(rows, this.#g.transposeLast(weight)));
    return bias ? this.#g.add(sums, this.row(bias)) : sums;
  }

  /** W·x + R·h′ + b for all gates and steps: [D, T, N, gates·H]. */
  sums(): Typed {
    const [bias, g] = [this.bias(), this.#g];
    return g.add(
      this.product(this.x, this.#context.input(1), bias && g.add(bias.x, bias.h)),
      this.product(this.rows(this.previous), this.#context.input(2)),
    );
  }

  /** Gradients of X, W, R and B from those of the {@link sums}. */
  gradients(sums: () => Typed): (() => Typed)[] {
    const rows = lazy(() => this.rows(sums()));
    return [
      () => this.inputGradient(this.#g.matMul(rows(), this.#context.input(1))),
      () => this.weightGradient(rows(), this.x),
      () => this.weightGradient(rows(), this.rows(this.previous)),
      () => {
        const total = this.total(sums());
        return this.#g.concat([total, total], 1);
      },
    ];
  }

  /** The halves of B, for X and for H, each [D, gates·H]; undefined where the node has none. */
  bias(): { x: Typed; h: Typed } | undefined {
    const bias = this.#context.inputs[3];
    if (!bias) return undefined;
    const length = dimAt(bias.shape, 1) / 2;
    const [x, h] = this.#g.split(bias, 1, [length, length]) as [Typed, Typed];
    return { x, h };
  }

  /** A factor, set to 0 where a sample lacks the step. */
  masked(value: Typed): Typed {
    return this.valid ? this.#g.mul(value, this.#g.indicator(this.valid, value.type)) : value;
  }

  /** A factor of a state, set to 1 where a sample lacks the step, so that the state stays. */
  kept(value: Typed): Typed {
    return this.valid ? this.#g.where(this.valid, value, 1) : value;
  }

  /** For each step: 1 where a sample lacks it, else 0, [D, 1, N, 1]; undefined if all samples have all steps. */
  missing(type: Typed["type"]): Typed[] | undefined {
    return this.valid && this.each(this.#g.sub(1, this.#g.indicator(this.valid, type)));
  }

  /** Gradient of the final state at output `index`, [D, 1, N, H]. */
  finalGradient(index: number): Typed | undefined {
    const gradient = this.#context.gradient(index);
    if (!gradient) return undefined;
    const state = this.#g.unsqueeze(gradient, [1]);
    const lengths = this.#lengths();
    // For a sample without steps the node outputs zeros, which have no gradient.
    return lengths ? this.#g.mul(state, this.#g.indicator(this.#g.greater(lengths, 0), state.type)) : state;
  }

  /**
   * The gradient of the hidden state before a step, from those of its {@link sums} and of the state after it, which stays
   * where a sample lacks the step.
   */
  throughSums(): (ofSums: Typed, ofState: Typed, step: number) => Typed {
    const r = this.#context.input(2);
    const [weight, missing] = [this.#g.unsqueeze(r, [1]), this.missing(r.type)];
    return (ofSums, ofState, step) => {
      const before = this.#g.matMul(ofSums, weight);
      const lacks = missing?.[step];
      return lacks ? this.#g.add(before, this.#g.mul(ofState, lacks)) : before;
    };
  }

  /**
   * Walks back over the steps with the gradient of the hidden state.
   * @param visit - receives the gradient of the state after a step, [D, 1, N, H], and returns a function that builds the
   * gradient of the state before it; that function is called only if the gradient is needed
   * @returns the gradient of the initial state
   */
  backwards(visit: (gradient: Typed, step: number) => () => Typed): () => Typed {
    const last = this.finalGradient(1);
    const own = this.#context.gradient(0);
    const readers = own && this.each(this.masked(this.#ordered(this.#byDirection(own))));
    let carried = last && (() => last);
    for (let step = this.steps - 1; step >= 0; step--) {
      const [a, b] = [readers?.[step], carried?.()];
      carried = visit(a && b ? this.#g.add(a, b) : (a ?? b ?? this.#zeros()), step);
    }
    return carried as () => Typed;
  }

  /** Restores the order of the steps and sums over the directions: [D, T·N, K] → [T, N, K]. */
  inputGradient(rows: Typed): Typed {
    return this.#g.reduceSum(this.#ordered(this.sequence(rows)), [0]);
  }

  /** Σ over steps and samples of a·bᵀ, [D, K, L], from a: [D, T·N, K] and b: [D, T·N, L]. */
  weightGradient(a: Typed, b: Typed): Typed {
    return this.#g.matMul(this.#g.transposeLast(a), b);
  }

  /** Σ over steps and samples, [D, K], from [D, T, N, K]. */
  total(value: Typed): Typed {
    // ONNX Runtime sums leading axes twenty times faster than axes that follow an axis of length 1.
    const sum = this.#g.reduceSum(value, this.directions === 1 ? [0, 1, 2] : [1, 2]);
    return this.#g.reshape(sum, [this.directions, dimAt(value.shape, 3)]);
  }

  /** A state's gradient in the shape of the node's input: [D, 1, N, H] → [D, N, H]. */
  stateGradient(gradient: Typed): Typed {
    return this.#g.reshape(gradient, [this.directions, this.batch, this.hidden]);
  }

  #states(): Typed {
    const declared = this.node.outputs[0];
    const states =
      declared ?? this.#g.graph.addNodeOutput(this.node, 0, `${this.#g.options.prefix}${this.node.label}.Y`);
    states.type ??= this.x.type;
    states.shape ??= [this.steps, this.directions, this.batch, this.hidden];
    return this.#ordered(this.#byDirection(typed(states)));
  }

  /** [T, D, N, K] → [D, T, N, K]; for one direction a view, where ONNX Runtime would move a Transpose behind Splits into steps. */
  #byDirection(value: Typed): Typed {
    const { directions, steps, batch } = this;
    if (directions > 1) return this.#g.transpose(value, [1, 0, 2, 3]);
    return this.#g.reshape(value, [1, steps, batch, dimAt(value.shape, 3)]);
  }

  /** Reverses the steps of reverse directions; applied twice, it restores the order. */
  #ordered(value: Typed): Typed {
    const flip = (part: Typed) =>
      this.#g.slice(part, [{ axis: 1, start: this.steps - 1, length: this.steps, step: -1 }]);
    if (!this.#reversed.includes(true) || this.steps === 1) return value;
    if (this.directions === 1) return flip(value);
    const parts = this.#g.split(value, 0, [1, 1]) as [Typed, Typed];
    return this.#g.concat([parts[0], flip(parts[1])], 0);
  }

  #lengths(): Typed | undefined {
    const lengths = this.#context.inputs[4];
    return lengths ? this.#g.reshape(lengths, [1, 1, this.batch, 1]) : undefined;
  }

  /** Whether the samples have the first `count` steps, [D, count, N, 1]. */
  #present(count: number): Typed | undefined {
    const lengths = this.#lengths();
    if (!lengths) return undefined;
    const times = this.#reversed.flatMap((reversed) =>
      Array.from({ length: count }, (_, i) => (reversed ? this.steps - 1 - i : i)),
    );
    const shape = [this.directions, count, 1, 1];
    return this.#g.less(this.#g.constant("int32", shape, Int32Array.from(times)), lengths);
  }

  #zeros(): Typed {
    return this.#g.filled(0, [this.directions, 1, this.batch, this.hidden], this.x.type);
  }
}

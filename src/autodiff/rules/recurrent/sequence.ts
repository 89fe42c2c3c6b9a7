import { SorthError } from "../../../errors.ts";
import type { Emit } from "../../../graph/emit.ts";
import { type Typed, typed } from "../../../graph/emit-base.ts";
import type { Node } from "../../../graph/node.ts";
import { dimAt } from "../../../graph/shapes.ts";
import type { RuleContext } from "../../rule.ts";
import { type Activation, activationsOf, clipped } from "./activations.ts";

/**
 * The data of a recurrent node in the order in which the node works it off, so that a rule needs one recurrence for all
 * directions: values are [D, T, N, K] (directions, steps, batch, features), and the steps of a direction that runs
 * backwards are reversed. A sample that is shorter than the others keeps its state during the steps that it lacks:
 * behind its end in a forward direction, before its beginning in a reversed one.
 */
export class Sequence {
  readonly node: Node;
  readonly directions: number;
  readonly steps: number;
  readonly batch: number;
  readonly hidden: number;
  /** X: [D, T·N, features]. */
  readonly x: Typed;
  /** Whether a sample has this step, [D, T, N, 1]; undefined where all samples have all steps. */
  readonly valid: Typed | undefined;
  readonly #context: RuleContext;
  readonly #g: Emit;
  readonly #reversed: readonly boolean[];
  #previous: Typed | undefined;

  /** @throws SorthError when the node's layout is not the one that ONNX Runtime computes */
  constructor(context: RuleContext, g: Emit) {
    const { node } = context;
    if (node.int("layout", 0) !== 0) {
      throw new SorthError(
        `cannot differentiate ${node.op} (node "${node.label}"): layout 1 (batch first) is not computed by ONNX Runtime ` +
          "itself; export it with layout 0 and a Transpose around it",
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

  /** f, g, h of the node's equations, the clipping of their arguments included for all of `gates`. */
  activations(defaults: readonly string[], gates: number): Activation[] {
    const clip = this.node.attributes.has("clip") ? this.node.float("clip", 0) : undefined;
    return activationsOf(this.node, this.directions, defaults).map((activation, index) =>
      index < gates ? clipped(activation, clip) : activation,
    );
  }

  /** [D, T, N, K] → [D, T·N, K], as matrix products over all steps take it. */
  rows(value: Typed): Typed {
    return this.#g.reshape(value, [this.directions, this.steps * this.batch, dimAt(value.shape, 3)]);
  }

  /** [D, T·N, K] → [D, T, N, K]. */
  sequence(rows: Typed): Typed {
    return this.#g.reshape(rows, [this.directions, this.steps, this.batch, dimAt(rows.shape, 2)]);
  }

  /** A row for each direction, [D, K] → [D, 1, 1, K]. */
  row(value: Typed): Typed {
    return this.#g.unsqueeze(value, [1, 2]);
  }

  /** The steps of a value, each [D, 1, N, K]. */
  each(value: Typed): Typed[] {
    return this.#g.split(value, 1, Array<number>(dimAt(value.shape, 1)).fill(1));
  }

  /** A state before the first step as [D, 1, N, H]; undefined means zeros. */
  initial(input: number): Typed | undefined {
    const value = this.#context.inputs[input];
    return value ? this.#g.unsqueeze(value, [1]) : undefined;
  }

  /** The hidden state before each step, [D, T, N, H]: the node's own output Y, which is added where it is absent. */
  get previous(): Typed {
    this.#previous ??= this.before(this.#states(), this.initial(5));
    return this.#previous;
  }

  /** What stands before each step, from what stands behind each step. */
  before(states: Typed, initial: Typed | undefined): Typed {
    const first = initial ?? this.#zeros();
    if (this.steps === 1) return first;
    const earlier = this.#g.slice(states, [{ axis: 1, start: 0, length: this.steps - 1 }]);
    const known = this.#present(this.steps - 1);
    return this.#g.concat([first, known ? this.#g.where(known, earlier, first) : earlier], 1);
  }

  /** X·Wᵀ or H·Rᵀ of all gates and steps with its half of the bias B, [D, T, N, gates·H]. */
  product(rows: Typed, weight: Typed, bias?: Typed): Typed {
    const sums = this.sequence(this.#g.matMul(rows, this.#g.transposeLast(weight)));
    return bias ? this.#g.add(sums, this.row(bias)) : sums;
  }

  /** The halves of B, for X and for H, each [D, gates·H]; undefined where the node has none. */
  bias(): { x: Typed; h: Typed } | undefined {
    const bias = this.#context.inputs[3];
    if (!bias) return undefined;
    const length = dimAt(bias.shape, 1) / 2;
    const [x, h] = this.#g.split(bias, 1, [length, length]) as [Typed, Typed];
    return { x, h };
  }

  /** A factor that is 0 where a sample lacks the step. */
  masked(value: Typed): Typed {
    return this.valid ? this.#g.mul(value, this.#g.indicator(this.valid, value.type)) : value;
  }

  /** A factor of a state that is 1 where a sample lacks the step: the state stays. */
  kept(value: Typed): Typed {
    return this.valid ? this.#g.where(this.valid, value, 1) : value;
  }

  /** By step: 1 where a sample lacks it, [D, 1, N, 1]; undefined where all samples have all steps. */
  missing(type: Typed["type"]): Typed[] | undefined {
    return this.valid && this.each(this.#g.sub(1, this.#g.indicator(this.valid, type)));
  }

  /** Gradient of the state that output `index` shows after the last step, [D, 1, N, H]. */
  finalGradient(index: number): Typed | undefined {
    const gradient = this.#context.gradient(index);
    if (!gradient) return undefined;
    const state = this.#g.unsqueeze(gradient, [1]);
    const lengths = this.#lengths();
    // Of a sample without any step the node shows zeros.
    return lengths ? this.#g.mul(state, this.#g.indicator(this.#g.greater(lengths, 0), state.type)) : state;
  }

  /**
   * Walks back over the steps with the gradient of the hidden state.
   * @param visit - is given the gradient of the state after a step, [D, 1, N, H], and returns the one before it (called
   * only if somebody needs it)
   * @returns the gradient of the initial state
   */
  backwards(visit: (gradient: Typed, step: number) => () => Typed): () => Typed {
    const last = this.finalGradient(1);
    const own = this.#context.gradient(0);
    const readers = own && this.each(this.masked(this.#ordered(this.#g.transpose(own, [1, 0, 2, 3]))));
    let carried = last && (() => last);
    for (let step = this.steps - 1; step >= 0; step--) {
      const [a, b] = [readers?.[step], carried?.()];
      carried = visit(a && b ? this.#g.add(a, b) : (a ?? b ?? this.#zeros()), step);
    }
    return carried as () => Typed;
  }

  /** Back from the order of the steps: [D, T, N, K] → [T, N, K], summed over the directions. */
  inputGradient(rows: Typed): Typed {
    return this.#g.reduceSum(this.#ordered(this.sequence(rows)), [0]);
  }

  /** Σ over steps and samples of a·bᵀ, [D, K, L], from a: [D, T·N, K] and b: [D, T·N, L]. */
  weightGradient(a: Typed, b: Typed): Typed {
    return this.#g.matMul(this.#g.transposeLast(a), b);
  }

  /** Σ over steps and samples, [D, K], from [D, T, N, K]. */
  total(value: Typed): Typed {
    // ONNX Runtime sums leading axes fast, and axes behind one of length 1 twenty times slower.
    const sum = this.#g.reduceSum(value, this.directions === 1 ? [0, 1, 2] : [1, 2]);
    return this.#g.reshape(sum, [this.directions, dimAt(value.shape, 3)]);
  }

  /** A state's gradient as the node's input has it, [D, N, H]. */
  stateGradient(gradient: Typed): Typed {
    return this.#g.reshape(gradient, [this.directions, this.batch, this.hidden]);
  }

  #states(): Typed {
    const declared = this.node.outputs[0];
    const states =
      declared ?? this.#g.graph.addNodeOutput(this.node, 0, `${this.#g.options.prefix}${this.node.label}.Y`);
    states.type ??= this.x.type;
    states.shape ??= [this.steps, this.directions, this.batch, this.hidden];
    return this.#ordered(this.#g.transpose(typed(states), [1, 0, 2, 3]));
  }

  /** Reverses the steps of the directions that run backwards: into the order of the steps, and back. */
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

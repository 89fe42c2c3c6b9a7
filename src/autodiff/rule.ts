import type { Attribute } from "../graph/attribute.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Node, Value } from "../graph/node.ts";
import type { Shape } from "../graph/shapes.ts";
import type { DataTypeName } from "../onnx/data-types.ts";

/** One input of a rule's sample. A plain shape stands for random, differentiable numbers of that shape. */
export type SampleInput =
  | Shape
  | null
  | {
      readonly shape: Shape;
      /** Fixed data: axes, shapes, indices, masks. Not differentiated. */
      readonly constant: readonly number[];
      /** Default int64. */
      readonly type?: DataTypeName;
    }
  | {
      readonly shape: Shape;
      /** Bounds of the uniformly drawn values; default: the sample's range. */
      readonly range?: readonly [number, number];
      /** No two values closer than 0.02 (for operators with ties, such as maxima). */
      readonly distinct?: boolean;
    };

/** A case on which the tests check a rule against finite differences. */
export interface Sample {
  readonly inputs: readonly SampleInput[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Range of the random inputs; default [−1, 1]. */
  readonly range?: readonly [number, number];
  /** Number of outputs the node declares; default 1. */
  readonly outputs?: number;
  /** Opset of the sample's model; default 18. */
  readonly opset?: number;
  /** Why the tests do not compare this case in float64, although ONNX Runtime has a kernel. */
  readonly floatOnly?: string;
  /** The last `captured` inputs are not inputs of the node: its bodies read them as outer-scope values `x<index>`. */
  readonly captured?: number;
  /** Shown in the test's name. */
  readonly note?: string;
}

/** The argument of a rule: the forward node, with known shapes and resolved constant inputs. */
export interface RuleContext {
  readonly node: Node;
  /** Inputs of the node, with types and shapes; null for an absent optional input. */
  readonly inputs: readonly (Typed | null)[];
  readonly outputs: readonly (Typed | null)[];
  /** The input at `index`. @throws SorthError that names the node when the input is absent */
  input(index: number): Typed;
  /** The output at `index`. @throws SorthError when the node does not declare it */
  output(index: number): Typed;
  /** Gradient of the output at `index`; undefined if the loss does not depend on it. */
  gradient(index: number): Typed | undefined;
  /** The numbers of a constant input (axes, shapes, pads …); undefined if absent. @throws SorthError if it is computed */
  constant(index: number): readonly number[] | undefined;
  /** Whether the gradient of `value` is needed; for operators that build several gradients at once. */
  wants(value: Value): boolean;
  /** The table of derivatives, with which a rule differentiates the node's bodies. */
  readonly rules: RuleTable;
}

/** Builds the gradient of one input; the walk calls it only if that gradient is needed. */
export type Thunk = () => Typed;

/**
 * The derivative of one operator.
 * `vjp` returns one thunk per input (null where no gradient exists), then one per captured value of the node. It neither
 * sums over broadcast axes nor asks whether a gradient is needed: the walk does both. `dy` is the gradient of output 0
 * (zeros if only another output is read).
 */
export interface Rule {
  readonly vjp: (context: RuleContext, dy: Typed, g: Emit) => readonly (Thunk | null)[];
  /** At least one; a rule without a sample does not type-check. */
  readonly samples: readonly [Sample, ...Sample[]];
  /** The operator is linear in each random input separately, so the tests use step 1 and have no truncation error. */
  readonly linear?: boolean;
}

/** An operator whose gradient is zero wherever it exists (Floor, Shape, comparisons), or which returns no floats. */
interface Constant {
  readonly constant: string;
}

/** A known operator that is not differentiated, and the reason. */
interface Refused {
  readonly refused: string;
  /** The forms of the operator that a pass writes out in operators with derivatives, in words. */
  readonly writtenOut?: string;
}

/** The entry of an operator in the table: a derivative, a zero gradient, or a refusal. */
export type RuleEntry = Rule | Constant | Refused;

/** Entries by operator type; operators outside the standard domain by `domain.OpType`. */
export type RuleTable = Readonly<Record<string, RuleEntry>>;

import type { Attribute } from "../graph/attribute.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Node, Value } from "../graph/node.ts";
import type { Shape } from "../graph/shapes.ts";
import type { DataTypeName } from "../onnx/data-types.ts";

/** One input of a rule's sample case. A plain shape means random differentiable numbers of that shape. */
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
      /** Values drawn uniformly from here; default the sample's range. */
      readonly range?: readonly [number, number];
      /** No two values closer than 0.02 (for operators with ties, such as maxima). */
      readonly distinct?: boolean;
    };

/** A case on which a rule is checked against finite differences. */
export interface Sample {
  readonly inputs: readonly SampleInput[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Range of the random inputs; default [−1, 1]. */
  readonly range?: readonly [number, number];
  /** Number of outputs the node declares; default 1. */
  readonly outputs?: number;
  /** Opset of the sample's model; default 18. */
  readonly opset?: number;
  /** Why this case is not held to float64 figures although ONNX Runtime has a kernel. */
  readonly floatOnly?: string;
  /** The last so many inputs are none of the node's: its bodies read them, under the names `x<index>`. */
  readonly captured?: number;
  /** Shown in the test's name. */
  readonly note?: string;
}

/** What a rule is given: the forward node, with shapes known and constant inputs resolved. */
export interface RuleContext {
  readonly node: Node;
  /** Inputs of the node, types and shapes known; an absent optional input is null. */
  readonly inputs: readonly (Typed | null)[];
  readonly outputs: readonly (Typed | null)[];
  /** The input of that index. @throws SorthError naming the node when it is absent. */
  input(index: number): Typed;
  /** The output of that index. @throws SorthError when the node does not declare it. */
  output(index: number): Typed;
  /** Gradient of an output; undefined where nothing reads it. */
  gradient(index: number): Typed | undefined;
  /** The numbers of a constant input (axes, shapes, pads …); undefined if absent. @throws SorthError if not constant. */
  constant(index: number): readonly number[] | undefined;
  /** Whether anybody wants the gradient of a value: for operators that build several gradients at once. */
  wants(value: Value): boolean;
  /** The table of derivatives, for what lies inside the bodies of the node. */
  readonly rules: RuleTable;
}

/** Builds the gradient of one input; called only if somebody wants it. */
export type Thunk = () => Typed;

/**
 * The derivative of one operator.
 * `vjp` returns one thunk per input (null where no gradient exists), then one per captured value of the node. It never sums to shape and never asks whether a
 * gradient is wanted. `dy` is the gradient of output 0 (zeros if only another output is read).
 */
export interface Rule {
  readonly vjp: (context: RuleContext, dy: Typed, g: Emit) => readonly (Thunk | null)[];
  /** At least one; a rule without a sample does not type-check. */
  readonly samples: readonly [Sample, ...Sample[]];
  /** The operator is linear in each random input alone: checked with step 1, without truncation error. */
  readonly linear?: boolean;
}

/** The gradient is zero everywhere it exists (Floor, Shape, comparisons), or the operator makes no floats. */
export interface Constant {
  readonly constant: string;
}

/** Known, and not differentiated, for this reason. */
export interface Refused {
  readonly refused: string;
}

/** The three states of an operator in the table. */
export type RuleEntry = Rule | Constant | Refused;

/** Operators by type; outside the standard domain by `domain.OpType`. */
export type RuleTable = Readonly<Record<string, RuleEntry>>;

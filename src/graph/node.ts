import { SorthError } from "../errors.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import type { onnx } from "../onnx/schema.js";
import type { Tensor } from "../onnx/tensor.ts";
import type { Attribute } from "./attribute.ts";

/** One place where a value is read: input `index` of `node`, or -1 where a body of the node (If, Loop, Scan) reads it. */
export interface Use {
  readonly node: Node;
  readonly index: number;
}

/** A dimension as a file declares it: a number, a name such as `batch`, or unknown. */
export type DeclaredDim = number | string | undefined;

const noMetadata: ReadonlyMap<string, string> = new Map();

/** A named tensor of a graph: a graph input, an initializer, or an output of a node. */
export class Value {
  /** Unique in its graph; changed through {@link Graph.rename} alone. */
  name: string;
  /** Element type, once declared or inferred. */
  type: DataTypeName | undefined;
  /** Static shape, once inferred; undefined means not known. */
  shape: readonly number[] | undefined;
  /**
   * Axes of {@link Value.shape} whose length is another at other lengths of the model's free dimensions, once inferred;
   * every axis where that could not be found out.
   */
  freeAxes: readonly number[] | undefined;
  /** Type of a value that is no tensor (a sequence, map or optional), as its message. */
  otherType: onnx.TypeProto.$Properties | undefined;
  /** Shape as the file declares it (graph inputs and outputs). */
  declared: readonly DeclaredDim[] | undefined;
  /** The node that computes it; undefined for graph inputs and initializers. */
  producer: Node | undefined;
  /** The constant data of an initializer. */
  initializer: Tensor | undefined;
  /** Where it is read inside the graph; being a graph output is not a use. */
  readonly uses = new Set<Use>();
  /** Whether the constant data lay in a Constant node. */
  fromNode = false;
  /** What the exporter noted at it (`metadata_props` of its value info). */
  metadata: ReadonlyMap<string, string> = noMetadata;

  constructor(name: string, type?: DataTypeName, shape?: readonly number[]) {
    this.name = name;
    this.type = type;
    this.shape = shape;
  }

  /** Whether {@link Value.shape} holds whatever length the model's free dimensions have, once inferred. */
  get shapeFixed(): boolean {
    return this.shape !== undefined && this.freeAxes?.length === 0;
  }
}

/** Boolean attributes that ONNX Runtime compares with 1; it takes any number but 0 for true elsewhere (test/graph/flags.test.ts). */
const trueForOneAlone = new Set(["interleaved", "is_causal", "noop_with_empty_axes", "unidirectional"]);
/** Boolean attributes that ONNX Runtime takes half for true and half for false where they are neither 0 nor 1. */
const unclear = new Set(["training_mode"]);

/** One operation of a graph. Absent optional inputs and outputs are null. */
export class Node {
  /** Changes only where a newer operator set has another name for the same operator. */
  opType: string;
  /** Operator domain; the standard one is the empty string. */
  readonly domain: string;
  /** Which of several functions of the same name is called; empty for operators. */
  readonly overload: string;
  name: string;
  readonly attributes: Map<string, Attribute>;
  readonly inputs: (Value | null)[];
  readonly outputs: (Value | null)[];
  /** Outer values that bodies in this node's attributes read by name; changed through the graph alone. */
  captures: readonly Value[];
  readonly metadata: ReadonlyMap<string, string>;
  /** Why no gradient can pass this very node, where preparing the graph found that out (a Loop that cannot be unrolled). */
  obstacle: string | undefined;

  constructor(fields: {
    opType: string;
    domain?: string;
    overload?: string;
    name?: string;
    attributes?: ReadonlyMap<string, Attribute>;
    inputs: readonly (Value | null)[];
    outputs: readonly (Value | null)[];
    captures?: readonly Value[];
    metadata?: ReadonlyMap<string, string>;
  }) {
    this.opType = fields.opType;
    this.domain = fields.domain === "ai.onnx" ? "" : (fields.domain ?? "");
    this.overload = fields.overload ?? "";
    this.name = fields.name ?? "";
    this.attributes = new Map(fields.attributes ?? []);
    this.inputs = [...fields.inputs];
    this.outputs = [...fields.outputs];
    this.captures = fields.captures ?? [];
    this.metadata = fields.metadata ?? new Map();
  }

  /** `Conv`, or `com.microsoft.Gelu` outside the standard domain. */
  get op(): string {
    return this.domain ? `${this.domain}.${this.opType}` : this.opType;
  }

  /** How messages call this node: its name, or its first output where it has none. */
  get label(): string {
    return this.name || this.outputs.find((output) => output)?.name || this.opType;
  }

  /** The value of an integer attribute, or the operator's default. */
  int(name: string, fallback: number): number {
    const attribute = this.attributes.get(name);
    return attribute?.kind === "int" ? attribute.value : fallback;
  }

  /**
   * Whether a boolean attribute is set, as ONNX Runtime reads it: most are true for every number but 0, some for 1 alone.
   * @throws SorthError where the runtime's own answer is not one of the two
   */
  flag(name: string, fallback = false): boolean {
    const value = this.int(name, fallback ? 1 : 0);
    if (value !== 0 && value !== 1 && unclear.has(name)) {
      throw new SorthError(`${this.op} node "${this.label}": ${name} is ${value}; it must be 0 or 1`);
    }
    return trueForOneAlone.has(name) ? value === 1 : value !== 0;
  }

  /** The value of a float attribute, or the operator's default. */
  float(name: string, fallback: number): number {
    const attribute = this.attributes.get(name);
    return attribute?.kind === "float" ? attribute.value : fallback;
  }

  /** The value of a text attribute, or the operator's default. */
  string(name: string, fallback: string): string {
    const attribute = this.attributes.get(name);
    return attribute?.kind === "string" ? attribute.value : fallback;
  }

  /** The integers of an attribute; undefined where the node leaves it out. */
  ints(name: string): readonly number[] | undefined {
    const attribute = this.attributes.get(name);
    return attribute?.kind === "ints" ? attribute.value : undefined;
  }

  /** The tensor of an attribute; undefined where the node leaves it out. */
  tensor(name: string): Tensor | undefined {
    const attribute = this.attributes.get(name);
    return attribute?.kind === "tensor" ? attribute.value : undefined;
  }
}

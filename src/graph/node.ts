import { SorthError } from "../errors.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import type { onnx } from "../onnx/schema.js";
import type { Tensor } from "../onnx/tensor.ts";
import type { Attribute } from "./attribute.ts";

/** One use of a value: input `index` of `node`, or -1 if a body of the node (If, Loop, Scan) reads it. */
export interface Use {
  readonly node: Node;
  readonly index: number;
}

/** A dimension as declared in a file: a number, a name such as `batch`, or unknown. */
export type DeclaredDim = number | string | undefined;

const noMetadata: ReadonlyMap<string, string> = new Map();

/** A named tensor of a graph: a graph input, an initializer, or an output of a node. */
export class Value {
  /** Unique in its graph; only {@link Graph.rename} changes it. */
  name: string;
  /** Element type, once declared or inferred. */
  type: DataTypeName | undefined;
  /** Static shape, once inferred; undefined if unknown. */
  shape: readonly number[] | undefined;
  /**
   * Axes of {@link Value.shape} whose length changes with the model's free dimensions, once inferred; all axes if
   * inference could not decide.
   */
  freeAxes: readonly number[] | undefined;
  /** Type message of a value that is not a tensor (a sequence, map or optional). */
  otherType: onnx.TypeProto.$Properties | undefined;
  /** Shape as declared in the file (graph inputs and outputs). */
  declared: readonly DeclaredDim[] | undefined;
  /** The node that computes it; undefined for graph inputs and initializers. */
  producer: Node | undefined;
  /** The constant data of an initializer. */
  initializer: Tensor | undefined;
  /** The places inside the graph that read it; being a graph output is not a use. */
  readonly uses = new Set<Use>();
  /** Whether the constant data came from a Constant node. */
  fromNode = false;
  /** The exporter's notes (`metadata_props` of its value info). */
  metadata: ReadonlyMap<string, string> = noMetadata;

  constructor(name: string, type?: DataTypeName, shape?: readonly number[]) {
    this.name = name;
    this.type = type;
    this.shape = shape;
  }

  /** Whether {@link Value.shape} is the same for all lengths of the model's free dimensions, once inferred. */
  get shapeFixed(): boolean {
    return this.shape !== undefined && this.freeAxes?.length === 0;
  }
}

/** Boolean attributes that ONNX Runtime compares with 1. For others, any number but 0 is true (test/graph/flags.test.ts). */
const trueForOneAlone = new Set(["interleaved", "is_causal", "noop_with_empty_axes", "unidirectional"]);
/** Boolean attributes for which ONNX Runtime is inconsistent when the value is neither 0 nor 1. */
const unclear = new Set(["training_mode"]);

/** What a node is made of; its outputs are values, or names for new ones. */
export interface NodeFields<Output> {
  /** The operator's name, such as `Conv`. */
  readonly opType: string;
  /** The operator's domain; default the standard one. */
  readonly domain?: string;
  /** Which of several functions of the same name. */
  readonly overload?: string;
  readonly name?: string;
  readonly attributes?: ReadonlyMap<string, Attribute>;
  /** Null where an optional input is absent. */
  readonly inputs: readonly (Value | null)[];
  /** Null where an optional output is absent. */
  readonly outputs: readonly (Output | null)[];
  /** Outer values that bodies in the attributes read by name. */
  readonly captures?: readonly Value[];
  /** `metadata_props` of the node. */
  readonly metadata?: ReadonlyMap<string, string>;
}

/** One node of a graph. Absent optional inputs and outputs are null. */
export class Node {
  /** Changes only if a newer operator set renames the operator, or a pass writes the node in another form. */
  opType: string;
  /** Operator domain; the empty string is the standard domain. */
  readonly domain: string;
  /** Selects among functions of the same name; empty for operators. */
  readonly overload: string;
  name: string;
  readonly attributes: Map<string, Attribute>;
  readonly inputs: (Value | null)[];
  readonly outputs: (Value | null)[];
  /** Outer values that bodies in this node's attributes read by name; only the graph changes this list. */
  captures: readonly Value[];
  readonly metadata: ReadonlyMap<string, string>;
  /** Why this node is not differentiable, if a pass found that out (a Loop that cannot be unrolled, say). */
  obstacle: string | undefined;

  constructor(fields: NodeFields<Value>) {
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

  /** The operator, with its domain unless that is the standard one: `Conv`, `com.microsoft.Gelu`. */
  get op(): string {
    return this.domain ? `${this.domain}.${this.opType}` : this.opType;
  }

  /** The node's name in messages: its own name, or that of its first output if it has none. */
  get label(): string {
    return this.name || this.outputs.find((output) => output)?.name || this.opType;
  }

  /** The value of an integer attribute, or the operator's default. */
  int(name: string, fallback: number): number {
    const attribute = this.attributes.get(name);
    return attribute?.kind === "int" ? attribute.value : fallback;
  }

  /**
   * Whether a boolean attribute is set, as ONNX Runtime reads it: most are true for every number but 0, some only for 1.
   * @throws SorthError for a value for which the runtime itself is inconsistent
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

  /** The integers of an attribute; undefined if the node lacks it. */
  ints(name: string): readonly number[] | undefined {
    const attribute = this.attributes.get(name);
    return attribute?.kind === "ints" ? attribute.value : undefined;
  }

  /** The tensor of an attribute; undefined if the node lacks it. */
  tensor(name: string): Tensor | undefined {
    const attribute = this.attributes.get(name);
    return attribute?.kind === "tensor" ? attribute.value : undefined;
  }
}

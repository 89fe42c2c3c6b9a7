import { SorthError } from "../errors.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import type { onnx } from "../onnx/schema.js";
import type { Tensor } from "../onnx/tensor.ts";
import { capturedNames, renameCaptures } from "./bodies.ts";
import { type DeclaredDim, Node, type NodeFields, type Use, Value } from "./node.ts";
import { nodesInOrder } from "./order.ts";
import { ancestorsOf } from "./reach.ts";

/**
 * A model's graph in memory: nodes, and values that know their producer and their uses. Names are unique. The methods
 * change a graph in place and keep producers and uses consistent.
 */
export class Graph {
  name: string;
  /** Versions of the imported operator sets by domain (`""` is the standard domain). */
  readonly opsets: Map<string, number>;
  readonly inputs: Value[] = [];
  readonly outputs: Value[] = [];
  readonly metadata = new Map<string, string>();
  /** Model-local functions, which nodes may call like operators; kept unchanged. */
  readonly functions: onnx.FunctionProto.$Properties[] = [];
  #nodes: Node[] = [];
  readonly #values = new Map<string, Value>();
  /** Number of nodes per name; ONNX Runtime rejects a graph in which two nodes share a name. */
  readonly #nodeNames = new Map<string, number>();
  #counter = 0;

  constructor(name: string, opsets: ReadonlyMap<string, number>) {
    this.name = name;
    this.opsets = new Map(opsets);
  }

  /** The nodes, in order of addition. */
  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  /** Version of the standard operator set; 0 when the graph imports none. */
  get opset(): number {
    return this.opsets.get("") ?? 0;
  }

  /** All values of the graph, graph inputs and initializers first. */
  get values(): IterableIterator<Value> {
    return this.#values.values();
  }

  /** Values that hold constant data. */
  get initializers(): Value[] {
    return [...this.#values.values()].filter((value) => value.initializer);
  }

  /** The value named `name`, if there is one. */
  value(name: string): Value | undefined {
    return this.#values.get(name);
  }

  /** The value named `name`. @throws SorthError when the graph has none */
  valueNamed(name: string): Value {
    const value = this.#values.get(name);
    if (!value) throw new SorthError(`the graph has no value "${name}"`);
    return value;
  }

  /** A name that no value or node of the graph has, derived from a readable stem. */
  freshName(stem: string): string {
    const taken = (name: string) => this.#values.has(name) || this.#nodeNames.has(name);
    if (!taken(stem)) return stem;
    for (;;) {
      const name = `${stem}_${++this.#counter}`;
      if (!taken(name)) return name;
    }
  }

  /** Names a node `wanted`, or a readable variant of it if another node has that name. */
  nameNode(node: Node, wanted: string): void {
    if (node.name === wanted) return;
    this.#countName(node.name, -1);
    node.name = this.#nodeNames.has(wanted) ? this.freshName(`${wanted}/node`) : wanted;
    this.#countName(node.name, 1);
  }

  #countName(name: string, change: 1 | -1): void {
    if (name === "") return;
    const count = (this.#nodeNames.get(name) ?? 0) + change;
    if (count > 0) this.#nodeNames.set(name, count);
    else this.#nodeNames.delete(name);
  }

  /** Adds a graph input. */
  addInput(
    name: string,
    type: DataTypeName | undefined,
    shape?: readonly number[],
    declared?: readonly DeclaredDim[],
  ): Value {
    const value = this.#add(new Value(name, type, shape));
    value.declared = declared ?? shape;
    this.inputs.push(value);
    return value;
  }

  /** Adds constant data. If a graph input has the same name (old files list both), the data becomes the input's default. */
  addInitializer(tensor: Tensor): Value {
    const value = this.reference(tensor.name);
    if (value.producer) throw new SorthError(`the name "${tensor.name}" is used twice in the graph`);
    value.type = tensor.type;
    value.shape = tensor.dims;
    value.initializer = tensor;
    return value;
  }

  /** Declares a value as a graph output. */
  addOutput(value: Value): Value {
    this.outputs.push(value);
    return value;
  }

  /** Adds a node; its outputs become values of the graph. Order does not matter: {@link sorted} puts nodes in order. */
  addNode(fields: NodeFields<string>): Node {
    const outputs = fields.outputs.map((name) => (name === null || name === "" ? null : this.#output(name)));
    const node = new Node({ ...fields, outputs });
    for (const output of outputs) if (output) output.producer = node;
    node.inputs.forEach((input, index) => {
      input?.uses.add({ node, index });
    });
    for (const value of node.captures) value.uses.add({ node, index: -1 });
    this.#nodes.push(node);
    this.#countName(node.name, 1);
    return node;
  }

  /** Replaces the computation of a value by constant data; the value keeps its name and its readers. */
  setConstant(value: Value, tensor: Tensor): void {
    const { producer } = value;
    if (producer) producer.outputs[producer.outputs.indexOf(value)] = null;
    value.producer = undefined;
    value.initializer = tensor.name === value.name ? tensor : tensor.named(value.name);
    value.type = tensor.type;
    value.shape = tensor.dims;
  }

  /** Removes nodes together with their outputs, which nothing may read any more. */
  removeNodes(doomed: ReadonlySet<Node>): void {
    for (const node of doomed) {
      this.#countName(node.name, -1);
      for (const value of [...node.inputs, ...node.captures]) {
        for (const use of value?.uses ?? []) if (use.node === node) value?.uses.delete(use);
      }
      for (const output of node.outputs) {
        if (output?.producer === node) this.#values.delete(output.name);
      }
    }
    this.#nodes = this.#nodes.filter((node) => !doomed.has(node));
  }

  /** Adds an optional output that a node lacks. */
  addNodeOutput(node: Node, index: number, stem: string): Value {
    const output = this.#output(this.freshName(stem));
    output.producer = node;
    while (node.outputs.length < index) node.outputs.push(null);
    node.outputs[index] = output;
    return output;
  }

  /** Adds an input to a node at `index`; inputs between the last one and `index` become absent. */
  appendInput(node: Node, index: number, value: Value): void {
    while (node.inputs.length < index) node.inputs.push(null);
    node.inputs[index] = value;
    value.uses.add({ node, index });
  }

  /** Removes a node's inputs from index `from` on. */
  dropNodeInputs(node: Node, from: number): void {
    node.inputs.splice(from).forEach((value, i) => {
      for (const use of value?.uses ?? []) {
        if (use.node === node && use.index === from + i) value?.uses.delete(use);
      }
    });
  }

  /** Removes a node's outputs from index `from` on; nothing may read them. */
  dropNodeOutputs(node: Node, from: number): void {
    for (const output of node.outputs.splice(from)) if (output) this.#values.delete(output.name);
  }

  /** Removes initializers that nothing reads and that are no graph outputs. @returns the number of removed initializers */
  removeUnusedConstants(): number {
    const unused = this.initializers.filter(
      (value) => value.uses.size === 0 && !this.inputs.includes(value) && !this.outputs.includes(value),
    );
    for (const { name } of unused) this.#values.delete(name);
    return unused.length;
  }

  /** Removes what no output needs, and the inputs that no node reads then, except those to keep. */
  pruneInputs(keep: (input: Value) => boolean = () => false): void {
    this.prune();
    for (const input of [...this.inputs]) if (input.uses.size === 0 && !keep(input)) this.removeInput(input);
  }

  /** Turns a graph input into an inner value, such as a parameter that is no longer fed. */
  removeInput(value: Value): void {
    const index = this.inputs.indexOf(value);
    if (index >= 0) this.inputs.splice(index, 1);
    if (!value.initializer && !value.producer && value.uses.size === 0) this.#values.delete(value.name);
  }

  /** Turns an initializer into a graph input of the same name, type and shape. */
  initializerToInput(value: Value): void {
    if (!value.initializer) throw new SorthError(`"${value.name}" is not an initializer`);
    value.initializer = undefined;
    value.declared = value.shape;
    if (!this.inputs.includes(value)) this.inputs.push(value);
  }

  /** Turns a graph input into an initializer with these numbers: the inverse of {@link initializerToInput}. */
  inputToInitializer(value: Value, tensor: Tensor): void {
    const index = this.inputs.indexOf(value);
    if (index >= 0) this.inputs.splice(index, 1);
    value.initializer = tensor.name === value.name ? tensor : tensor.named(value.name);
  }

  /** Renames a value, and its producer if it has the same name. @throws SorthError when the name is taken */
  rename(value: Value, name: string): void {
    if (value.name === name) return;
    if (this.#values.has(name)) throw new SorthError(`the name "${name}" is used twice in the graph`);
    this.#values.delete(value.name);
    if (value.producer?.name === value.name) this.nameNode(value.producer, name);
    const names = new Map([[value.name, name]]);
    for (const { node, index } of value.uses) if (index < 0) renameInBodies(node, names);
    value.name = name;
    if (value.initializer) value.initializer = value.initializer.named(name);
    this.#values.set(name, value);
  }

  /** Removes every node and constant on which no graph output depends. @returns the number of removed nodes and constants */
  prune(): number {
    const live = ancestorsOf(this.outputs);
    const dead = new Set(this.#nodes.filter((node) => !live.has(node)));
    this.removeNodes(dead);
    return dead.size + this.removeUnusedConstants();
  }

  /** Makes every reader of `from` read `to` instead; with `outputs: true`, replaces it among the graph outputs too. */
  replaceUses(from: Value, to: Value, options: { outputs?: boolean; except?: ReadonlySet<Node> } = {}): void {
    for (const use of [...from.uses]) {
      if (options.except?.has(use.node)) continue;
      if (use.index < 0) this.#setCapture(use.node, from, to);
      else this.setInput(use, to);
    }
    if (options.outputs) {
      this.outputs.forEach((output, index) => {
        if (output === from) this.outputs[index] = to;
      });
    }
  }

  /** Replaces bodies of a node, by attribute; they capture values of this graph. */
  setBodies(node: Node, bodies: ReadonlyMap<string, onnx.GraphProto.$Properties>): void {
    for (const [name, body] of bodies) node.attributes.set(name, { kind: "graph", value: body });
    const names = new Set<string>();
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === "graph") for (const name of capturedNames(attribute.value)) names.add(name);
    }
    this.#setCaptures(
      node,
      [...names].map((name) => this.valueNamed(name)),
    );
  }

  #setCapture(node: Node, from: Value, to: Value): void {
    renameInBodies(node, new Map([[from.name, to.name]]));
    this.#setCaptures(node, [...new Set(node.captures.map((value) => (value === from ? to : value)))]);
  }

  #setCaptures(node: Node, captures: readonly Value[]): void {
    for (const value of node.captures) {
      for (const use of value.uses) if (use.node === node && use.index < 0) value.uses.delete(use);
    }
    node.captures = captures;
    for (const value of captures) value.uses.add({ node, index: -1 });
  }

  /** Makes one input of a node read another value. */
  setInput(use: Use, to: Value): void {
    const { node, index } = use;
    const from = node.inputs[index];
    for (const other of from?.uses ?? []) {
      if (other.node === node && other.index === index) from?.uses.delete(other);
    }
    node.inputs[index] = to;
    to.uses.add({ node, index });
  }

  /**
   * The nodes in topological order; otherwise in order of addition.
   * @throws SorthError when the graph has a cycle
   */
  sorted(): Node[] {
    return nodesInOrder(this.#nodes);
  }

  /** Puts the nodes in another order. @throws RangeError when these are other nodes than the graph's */
  reorder(nodes: readonly Node[]): void {
    const own = new Set(this.#nodes);
    if (nodes.length !== own.size || !nodes.every((node) => own.delete(node))) {
      throw new RangeError("an order holds each node of the graph once");
    }
    this.#nodes = [...nodes];
  }

  #add(value: Value): Value {
    if (this.#values.has(value.name))
      throw new SorthError(`the name "${value.name}" is used twice in the graph`);
    this.#values.set(value.name, value);
    return value;
  }

  /** The value for a new node's output; it exists already if a reader came earlier in the file. */
  #output(name: string): Value {
    const known = this.#values.get(name);
    if (!known) return this.#add(new Value(name));
    if (known.producer || known.initializer || this.inputs.includes(known)) {
      throw new SorthError(`the name "${name}" is computed twice in the graph`);
    }
    return known;
  }

  /** The value named `name`; created empty if a node of a file reads it before the node that computes it. */
  reference(name: string): Value {
    return this.#values.get(name) ?? this.#add(new Value(name));
  }
}

/** Makes the bodies of a node read other names from outside. */
function renameInBodies(node: Node, names: ReadonlyMap<string, string>): void {
  for (const [key, attribute] of node.attributes) {
    if (attribute.kind === "graph") {
      node.attributes.set(key, { kind: "graph", value: renameCaptures(attribute.value, names) });
    }
  }
}

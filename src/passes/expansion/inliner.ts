import { SorthError } from "../../errors.ts";
import { attributeFromProto } from "../../graph/attribute.ts";
import { bodiesOf, capturedNames, mapBodies, renameCaptures } from "../../graph/bodies.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { isRead } from "../../graph/reach.ts";
import type { onnx } from "../../onnx/schema.js";
import { type ExternalReader, Tensor } from "../../onnx/tensor.ts";

/** How many nodes bodies and functions may become in a graph: an unrolled Loop of 1,000 trips and 200 nodes. */
export const largestExpansion = 200_000;

/** The nodes and constants of a body or a function. */
export interface Inlined {
  readonly node?: readonly onnx.NodeProto.$Properties[] | null;
  readonly initializer?: readonly onnx.TensorProto.$Properties[] | null;
}

/** Options of passes that put bodies into the graph around them. */
export interface InlineOptions {
  /** Shared with the passes before and after, so that a body that they inline too adds its constants once; default: a new one. */
  readonly inliner?: Inliner | undefined;
  /** Reads tensors of bodies that lie in other files. */
  readonly external?: ExternalReader | undefined;
  /** Names of parameters: a value that is computed from them is no constant. */
  readonly keep: ReadonlySet<string>;
  /** How many nodes one Loop or Scan may become; default: {@link largestExpansion}. */
  readonly largest?: number | undefined;
}

/** The defaults of {@link InlineOptions}. */
export const inlineOptions: InlineOptions = { keep: new Set() };

/** Whether a value depends neither on data nor on parameters. */
export const isConstant = (value: Value, { keep }: InlineOptions): boolean =>
  value.initializer !== undefined && !keep.has(value.name);

/** Puts the nodes of bodies and functions into a graph, under fresh names. */
export class Inliner {
  readonly graph: Graph;
  readonly external: ExternalReader | undefined;
  /** Constants by the message that holds them: a body that is inlined many times brings its constants once. */
  readonly #constants = new Map<onnx.TensorProto.$Properties, Value>();
  /** Values whose name was made here: they may still take the name of a value of the model. */
  readonly #renameable = new Set<Value>();
  /** Nodes that {@link replace} has replaced, and the names that the replacements take over. */
  readonly #replaced = new Set<Node>();
  readonly #names = new Map<Value, string>();
  readonly #nodeNames: Set<string>;
  #added = 0;

  constructor(graph: Graph, external?: ExternalReader) {
    this.graph = graph;
    this.external = external;
    this.#nodeNames = new Set(graph.nodes.map(({ name }) => name));
  }

  /**
   * Adds the nodes of a body. Names that neither it nor `bindings` defines are values of the graph.
   * @param stem - put before every name
   * @param bindings - values of the body's inputs by name; null is an absent one
   * @returns the values of `results`, names inside the body
   * @throws SorthError when the graph grows past {@link largestExpansion} nodes
   */
  inline(
    body: Inlined,
    stem: string,
    bindings: ReadonlyMap<string, Value | null>,
    results: readonly string[],
  ): (Value | null)[] {
    const { graph } = this;
    const nodes = body.node ?? [];
    this.#added += nodes.length;
    if (this.#added > largestExpansion) {
      throw new SorthError(
        `the bodies and functions of the model become more than ${largestExpansion} nodes (at "${stem}")`,
      );
    }
    const scope = new Map<string, Value | null>(bindings);
    for (const tensor of body.initializer ?? []) scope.set(tensor.name ?? "", this.#constant(tensor, stem));
    for (const node of nodes) {
      const constant = constantIn(node);
      const [output] = node.output ?? [];
      if (constant && output) scope.set(output, this.#constant(constant, stem, output));
      else for (const name of node.output ?? []) if (name) scope.set(name, this.#reserve(`${stem}/${name}`));
    }
    const find = (name: string): Value | null => {
      if (name === "") return null;
      const value = scope.get(name);
      return value === undefined ? graph.valueNamed(name) : value;
    };
    for (const node of nodes) if (!constantIn(node)) this.#addNode(node, stem, find);
    return results.map(find);
  }

  /**
   * Replaces a node's outputs by other values in all readers, including bodies. The next {@link flush} removes the node and
   * gives the names of its outputs to new values made here, so that graph outputs and values named in options keep their names.
   */
  replace(node: Node, results: readonly (Value | null)[]): void {
    const { graph } = this;
    this.#replaced.add(node);
    node.outputs.forEach((output, index) => {
      let to = results[index];
      if (!output) return;
      if (!to) {
        if (!isRead(graph, output)) return;
        throw new SorthError(`nothing computes output ${index} of ${node.op} "${node.label}"`);
      }
      if (!this.#renameable.has(to) && graph.outputs.includes(output)) {
        to = this.op("Identity", [to], `${output.name}/output`);
      }
      if (this.#renameable.delete(to)) this.#names.set(to, output.name);
      to.declared ??= output.declared;
      graph.replaceUses(output, to, { outputs: true });
    });
  }

  /** Removes the replaced nodes and gives the names of their outputs to the values that replace them. */
  flush(): void {
    this.graph.removeNodes(this.#replaced);
    for (const [value, name] of this.#names) {
      if (this.graph.value(value.name) === value) this.graph.rename(value, name);
    }
    this.#replaced.clear();
    this.#names.clear();
  }

  /** Adds one node with one output whose name the model does not know. */
  op(
    opType: string,
    inputs: readonly (Value | null)[],
    stem: string,
    attributes: Node["attributes"] = new Map(),
  ): Value {
    const output = this.#reserve(stem);
    this.graph.addNode({ opType, name: output.name, inputs, outputs: [output.name], attributes });
    return output;
  }

  constant(tensor: Tensor): Value {
    return this.graph.addInitializer(tensor.named(this.graph.freshName(tensor.name)));
  }

  #nodeName(stem: string): string {
    let name = stem;
    for (let i = 2; this.#nodeNames.has(name); i++) name = `${stem}_${i}`;
    this.#nodeNames.add(name);
    return name;
  }

  #reserve(stem: string): Value {
    const value = this.graph.reference(this.graph.freshName(stem));
    this.#renameable.add(value);
    return value;
  }

  #constant(proto: onnx.TensorProto.$Properties, stem: string, name = proto.name ?? ""): Value {
    const known = this.#constants.get(proto);
    if (known && this.graph.value(known.name) === known) return known;
    const value = this.constant(Tensor.fromProto(proto, this.external).named(`${stem}/${name}`));
    this.#constants.set(proto, value);
    return value;
  }

  #addNode(node: onnx.NodeProto.$Properties, stem: string, find: (name: string) => Value | null): void {
    const captures = new Set(bodiesOf(node).flatMap((body) => [...capturedNames(body)]));
    const names = new Map([...captures].map((name) => [name, find(name)?.name ?? ""]));
    const attributes = mapBodies(node, (body) => renameCaptures(body, names));
    this.graph.addNode({
      opType: node.opType ?? "",
      domain: node.domain ?? "",
      overload: node.overload ?? "",
      name: this.#nodeName(`${stem}/${node.name || node.opType}`),
      attributes: new Map(attributes.map((a) => [a.name ?? "", attributeFromProto(a, this.external)])),
      inputs: (node.input ?? []).map(find),
      outputs: (node.output ?? []).map((name) => find(name)?.name ?? null),
      captures: [...new Set(names.values())].flatMap((name) => this.graph.value(name) ?? []),
    });
  }
}

/** The tensor of a Constant node; undefined for other nodes. */
function constantIn({ opType, domain, attribute }: onnx.NodeProto.$Properties) {
  if (opType !== "Constant" || (domain ?? "") !== "") return undefined;
  return attribute?.find(({ name }) => name === "value")?.t ?? undefined;
}

import { renameInNode } from "../block/rename-record.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { nodeRecord } from "../graph/records.ts";
import { decodeTensorProto } from "../onnx/codec.ts";
import { initializerRecord } from "../onnx/encode-in-pieces.ts";
import { Model } from "../onnx/model.ts";
import { payloadOf, splice } from "../onnx/splice.ts";
import type { Chunk } from "../onnx/stored.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { bytesField, concatBytes, type FieldRecord, graphFields } from "../onnx/wire.ts";

/** Changes to the weights in a model's file. */
export class WeightEdits {
  readonly #model: Model;
  readonly #graph: Graph;
  readonly #initializers = new Map<string, Tensor>();
  readonly #appended: Tensor[] = [];
  /** For each node, new names of the values that it reads, by their present names. */
  readonly #names = new Map<Node, Readonly<Record<string, string>>>();
  /** Records of nodes that stand in front of a node. */
  readonly #copies = new Map<Node, readonly Uint8Array[]>();
  readonly #dropped = new Set<Node>();
  readonly #external: string[] = [];

  constructor(model: Model, graph: Graph) {
    this.#model = model;
    this.#graph = graph;
  }

  /** A weight gets other numbers. @returns its name */
  replace(value: Value, tensor: Tensor): string {
    if (value.initializer) {
      this.#initializers.set(value.name, tensor);
      this.#apart(value, value.name);
    } else {
      if (value.producer) this.#dropped.add(value.producer);
      this.#appended.push(tensor);
    }
    return value.name;
  }

  /**
   * Some layers that read a weight get one of their own.
   * @param paths - for each layer the nodes from the weight to it; those that others read too are written once more for the layer
   * @returns its name
   */
  separate(value: Value, tensor: Tensor, paths: readonly (readonly Node[])[]): string {
    const name = this.#graph.freshName(`${value.name}.merged`);
    this.#graph.addInitializer(tensor.named(name));
    this.#appended.push(tensor.named(name));
    this.#apart(value, name);
    const own = new Set(paths.flat());
    for (const path of paths) {
      const [between, layer] = [path.slice(0, -1), path.at(-1) as Node];
      const isOwn = between.every(({ outputs }) =>
        [...(outputs[0]?.uses ?? [])].every(({ node }) => own.has(node)),
      );
      const [first = layer] = between;
      if (isOwn) {
        this.#rename(first, value.name, name);
        continue;
      }
      let read = this.#graph.valueNamed(name);
      const copies = between.map(({ opType, domain, attributes, inputs, outputs }) => {
        const copy = this.#graph.addNode({
          ...{ opType, domain, attributes, inputs: [read, ...inputs.slice(1)] },
          outputs: [this.#graph.freshName(`${outputs[0]?.name}.merged`)],
        });
        read = copy.outputs[0] as Value;
        return nodeRecord(copy);
      });
      this.#copies.set(layer, [...(this.#copies.get(layer) ?? []), ...copies]);
      this.#rename(layer, between.at(-1)?.outputs[0]?.name ?? "", read.name);
    }
    return name;
  }

  #rename(node: Node, from: string, to: string): void {
    this.#names.set(node, { ...this.#names.get(node), [from]: to });
  }

  /** If a weight is in external data, its new numbers go there too. */
  #apart({ initializer }: Value, name: string): void {
    if (initializer?.external || this.#model.apart.has(initializer?.name ?? "")) this.#external.push(name);
  }

  /** The model's file with the changes; all other bytes stay. */
  done(): Model {
    const { layout } = this.#model;
    const replace = new Map<FieldRecord, Uint8Array | Chunk[] | null>();
    for (const record of layout.graph) {
      if (record.field !== graphFields.initializer) continue;
      const { name, docString } = decodeTensorProto(payloadOf(layout, record));
      const tensor = this.#initializers.get(name);
      if (tensor) replace.set(record, initializerRecord(tensor, docString));
    }
    const records = layout.graph.filter(({ field }) => field === graphFields.node);
    this.#graph.nodes.forEach((node, i) => {
      const record = records[i];
      const names = this.#names.get(node);
      if (record && this.#dropped.has(node)) replace.set(record, null);
      else if (record && names) {
        const message = Object.entries(names).reduce(
          (bytes, [from, to]) => renameInNode(bytes, from, to),
          payloadOf(layout, record),
        );
        const pieces = [...(this.#copies.get(node) ?? []), bytesField(graphFields.node, message)];
        replace.set(record, concatBytes(pieces));
      }
    });
    const appendToGraph = this.#appended.flatMap((tensor) => initializerRecord(tensor));
    return Model.spliced(splice(layout, { replace, appendToGraph }), this.#model, this.#external);
  }
}

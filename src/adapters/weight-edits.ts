import { renameInNode } from "../block/rename-record.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { decodeTensorProto } from "../onnx/codec.ts";
import { initializerRecord } from "../onnx/encode-in-pieces.ts";
import { Model } from "../onnx/model.ts";
import { splice } from "../onnx/splice.ts";
import type { Chunk } from "../onnx/stored.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { bytesField, type FieldRecord, graphFields } from "../onnx/wire.ts";

/** Changes to the weights in a model's file. */
export class WeightEdits {
  readonly #model: Model;
  readonly #graph: Graph;
  readonly #initializers = new Map<string, Tensor>();
  readonly #appended: Tensor[] = [];
  readonly #nodes = new Map<Node, readonly (readonly [string, string])[]>();
  readonly #dropped = new Set<Node>();
  readonly #external: string[] = [];

  constructor(model: Model, graph: Graph) {
    this.#model = model;
    this.#graph = graph;
  }

  /** A weight gets other numbers. */
  replace(value: Value, tensor: Tensor): void {
    if (value.initializer) {
      this.#initializers.set(value.name, tensor);
      this.#apart(value, value.name);
    } else {
      if (value.producer) this.#dropped.add(value.producer);
      this.#appended.push(tensor);
    }
  }

  /** One reader of a weight gets a weight of its own. */
  separate(value: Value, tensor: Tensor, reader: Node): void {
    const name = this.#graph.freshName(`${value.name}.merged`);
    this.#graph.addInitializer(tensor.named(name));
    this.#appended.push(tensor.named(name));
    this.#apart(value, name);
    this.#nodes.set(reader, [...(this.#nodes.get(reader) ?? []), [value.name, name]]);
  }

  /** The new numbers of a weight in external data go there too. */
  #apart({ initializer }: Value, name: string): void {
    if (initializer?.external || this.#model.apart.has(initializer?.name ?? "")) this.#external.push(name);
  }

  /** The model's file with the changes; all other bytes stay. */
  done(): Model {
    const { layout } = this.#model;
    const replace = new Map<FieldRecord, Uint8Array | Chunk[] | null>();
    const payloadOf = ({ payload, end }: FieldRecord) => layout.bytes.subarray(payload, end);
    for (const record of layout.graph) {
      if (record.field !== graphFields.initializer) continue;
      const { name, docString } = decodeTensorProto(payloadOf(record));
      const tensor = this.#initializers.get(name);
      if (tensor) replace.set(record, initializerRecord(tensor, docString));
    }
    const records = layout.graph.filter(({ field }) => field === graphFields.node);
    this.#graph.nodes.forEach((node, i) => {
      const record = records[i];
      const names = this.#nodes.get(node);
      if (record && this.#dropped.has(node)) replace.set(record, null);
      else if (record && names) {
        const message = names.reduce((bytes, [from, to]) => renameInNode(bytes, from, to), payloadOf(record));
        replace.set(record, bytesField(graphFields.node, message));
      }
    });
    const appendToGraph = this.#appended.flatMap((tensor) => initializerRecord(tensor));
    return Model.spliced(splice(layout, { replace, appendToGraph }), this.#model, this.#external);
  }
}

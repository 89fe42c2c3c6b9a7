import Long from "long";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { nodeToProto } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import { DataType, type DataTypeName } from "../onnx/data-types.ts";
import { onnx } from "../onnx/schema.js";
import { byteLengthOf, elementCount, Tensor, viewOf } from "../onnx/tensor.ts";
import type { Probe } from "./probe.ts";
import { isDescribed } from "./probe-model.ts";

/** Type and shape of a value; undefined where not known. */
export interface TypeAndShape {
  readonly type: DataTypeName | undefined;
  readonly shape: readonly number[] | undefined;
}

/** Above this number of elements an operator is not run to learn a shape. */
const largest = 1 << 26;

/** Constant data up to this number of elements is fed as it is: it may decide a shape. */
const largestConstant = 4096;

/** Operators outside the standard domain whose shapes depend on numbers, or that make text and maps. */
const dependent =
  /^(Unique|Tokenizer|NonMaxSuppression|NonZero|BeamSearch|GreedySearch|Sampling|WhisperBeamSearch|ZipMap|DictVectorizer|CastMap|ExpandDims|Pad|CropAndResize|Range|Trilu)$/;

/**
 * Whether an operator's output shapes can be learned by running it on zeros: one outside the standard domain, whose shapes
 * ONNX Runtime knows in its kernel alone. Shapes of standard operators that it does not infer depend on the data.
 */
export function canRun(graph: Graph, { domain, opType, attributes }: Node): boolean {
  if (domain === "" || dependent.test(opType)) return false;
  if (graph.functions.some((f) => f.name === opType && (f.domain ?? "") === domain)) return false;
  return ![...attributes.values()].some(({ kind }) => kind === "graph");
}

/**
 * What an operator answers with to zeros of the inputs' shapes: types and shapes of its outputs.
 * @param known - of all its inputs
 * @returns nothing where ONNX Runtime does not run it, or an output is no tensor
 */
export async function runNode(
  graph: Graph,
  node: Node,
  known: (value: Value) => TypeAndShape,
  probe: Probe,
): Promise<ReadonlyMap<Value, TypeAndShape> | undefined> {
  const feeds = new Map<string, Tensor>();
  const input: onnx.ValueInfoProto[] = [];
  const initializer: onnx.TensorProto.$Properties[] = [];
  for (const value of new Set(node.inputs)) {
    if (!value) continue;
    const { type, shape } = known(value);
    if (!type || !shape || type === "string" || !isDescribed(type) || elementCount(shape) > largest)
      return undefined;
    if (value.initializer && value.initializer.size <= largestConstant) {
      initializer.push(value.initializer.named(value.name).toProto());
      continue;
    }
    const dim = shape.map((length) => ({ dimValue: Long.fromNumber(length) }));
    input.push(
      new onnx.ValueInfoProto({
        name: value.name,
        type: { tensorType: { elemType: DataType[type], shape: { dim } } },
      }),
    );
    const zeros = viewOf(type, new Uint8Array(byteLengthOf(type, shape)));
    feeds.set(value.name, Tensor.of(value.name, type, shape, zeros));
  }
  const outputs = node.outputs.flatMap((output) => output ?? []);
  const model = new onnx.ModelProto({
    irVersion: Long.fromNumber(10),
    opsetImport: [...graph.opsets].map(([domain, version]) => ({
      domain,
      version: Long.fromNumber(version),
    })),
    graph: new onnx.GraphProto({
      name: "one operator",
      node: [nodeToProto(node)],
      ...{ input, initializer },
      output: outputs.map(({ name }) => new onnx.ValueInfoProto({ name })),
    }),
  });
  try {
    const results = await probe.run(encodeModelProto(model), feeds);
    return new Map(
      outputs.map((output) => {
        const result = results.get(output.name);
        return [output, { type: result?.type, shape: result?.dims }];
      }),
    );
  } catch {
    return undefined;
  }
}

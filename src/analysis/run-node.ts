import Long from "long";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { nodeToProto, opsetImport } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import { DataType, type DataTypeName } from "../onnx/data-types.ts";
import { onnx } from "../onnx/schema.js";
import { byteLengthOf, elementCount, Tensor, viewOf } from "../onnx/tensor.ts";
import type { Probe } from "./probe.ts";
import { isDescribed } from "./probe-model.ts";
import { isUnbiased } from "./unsafe-forms.ts";

/** Type and shape of a value; undefined if not known. */
export interface TypeAndShape {
  readonly type: DataTypeName | undefined;
  readonly shape: readonly number[] | undefined;
}

/** An operator with more elements than this is not run to learn a shape. */
const largest = 1 << 26;

/** Constants of up to this number of elements are fed with their real numbers, because these may decide a shape. */
const largestConstant = 4096;

/** Operators outside the standard domain whose shapes depend on the input's numbers, or that produce text or maps. */
const dependent =
  /^(Unique|Tokenizer|NonMaxSuppression|NonZero|BeamSearch|GreedySearch|Sampling|WhisperBeamSearch|ZipMap|DictVectorizer|CastMap|ExpandDims|Pad|CropAndResize|Range|Trilu)$/;

/**
 * Whether running an operator on zeros reveals its output shapes. True for operators outside the standard domain whose shapes
 * ONNX Runtime computes only in the kernel. If it cannot infer the shape of a standard operator, that shape depends on the data.
 */
export function canRun(graph: Graph, { domain, opType, attributes }: Node): boolean {
  if (domain === "" || dependent.test(opType)) return false;
  if (graph.functions.some((f) => f.name === opType && (f.domain ?? "") === domain)) return false;
  return ![...attributes.values()].some(({ kind }) => kind === "graph");
}

/**
 * Runs an operator on zeros of its inputs' shapes and returns the types and shapes of its outputs.
 * @param known - of all its inputs
 * @returns nothing if ONNX Runtime cannot run it, or an output is not a tensor
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
  const proto = nodeToProto(node);
  // Without a bias, ONNX Runtime ends the process.
  if (isUnbiased(node)) {
    const { addZeroBias } = await import("./zero-bias.ts");
    initializer.push(addZeroBias(proto, node.inputs[1] && known(node.inputs[1])));
  }
  const model = new onnx.ModelProto({
    irVersion: Long.fromNumber(10),
    opsetImport: opsetImport(graph),
    graph: new onnx.GraphProto({
      name: "one operator",
      node: [proto],
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

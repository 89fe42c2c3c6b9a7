import Long from "long";
import { bodiesOf } from "../graph/bodies.ts";
import { decodeModelProto, encodeModelProto } from "../onnx/codec.ts";
import { DataType } from "../onnx/data-types.ts";
import { onnx } from "../onnx/schema.js";

/**
 * Adapts a model to onnxruntime-web, which has no kernel for Dropout of opset 12 and later: it opens such models only at
 * optimization levels that remove the node, and not where an output of the node is a model output. Replaces Dropout by
 * Identity and its mask by true everywhere, as in inference; onnxruntime-web removes Dropout in training mode too. Models
 * without Dropout are returned unchanged.
 */
export function withoutDropout(model: Uint8Array): Uint8Array {
  const proto = decodeModelProto(model);
  const opset = proto.opsetImport.find(({ domain }) => !domain || domain === "ai.onnx")?.version;
  if (Number(opset ?? 0) < 12) return model;
  let found = proto.graph ? replaceIn(proto.graph) : false;
  for (const body of proto.functions) found = replaceIn(body) || found;
  return found ? encodeModelProto(proto) : model;
}

/** Replaces the nodes of a graph or function, and of nested graphs. Returns whether there was one. */
function replaceIn(body: { node?: onnx.NodeProto.$Properties[] | null }): boolean {
  let found = false;
  body.node = (body.node ?? []).flatMap((node) => {
    for (const inner of bodiesOf(node)) found = replaceIn(inner) || found;
    if (node.opType !== "Dropout" || (node.domain ?? "") !== "") return [node];
    found = true;
    return standIns(node);
  });
  return found;
}

function standIns({ name, input, output }: onnx.NodeProto.$Properties): onnx.NodeProto.$Properties[] {
  const [x = ""] = input ?? [];
  const [y = "", mask = ""] = output ?? [];
  const nodes: onnx.NodeProto.$Properties[] = [];
  if (y !== "") nodes.push({ name: name ?? "", opType: "Identity", input: [x], output: [y] });
  if (mask === "") return nodes;
  const shape = `${mask}/shape`;
  return [
    ...nodes,
    { opType: "Shape", input: [x], output: [shape] },
    { opType: "ConstantOfShape", input: [shape], output: [mask], attribute: [trueValue] },
  ];
}

const trueValue: onnx.AttributeProto.$Properties = {
  name: "value",
  type: onnx.AttributeProto.AttributeType.TENSOR,
  t: { dims: [Long.fromNumber(1)], dataType: DataType.bool, rawData: Uint8Array.of(1) },
};

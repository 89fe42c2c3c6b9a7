import { drawingOperators } from "../analysis/drawing-operators.ts";
import { listed } from "../errors.ts";
import { bodiesOf } from "../graph/bodies.ts";
import { decodeModelProto } from "../onnx/codec.ts";
import { Model } from "../onnx/model.ts";
import { onnx } from "../onnx/schema.js";

/** A model that gives the same numbers in every run, and a description of the changes that this took. */
interface WithoutDraws {
  readonly model: Model;
  readonly change: string | undefined;
}

/** The model with Dropout in inference form and seeds for all random operators, so that two runs can be compared. */
export function withoutDraws(model: Model): WithoutDraws {
  const drawn = nodesOf(model.proto).filter((node) => isDropout(node) || isUnseeded(node));
  if (drawn.length === 0) return { model, change: undefined };
  // A copy, because the caller's model must not change.
  const proto = decodeModelProto(model.bytes);
  for (const node of nodesOf(proto)) {
    if (isDropout(node)) node.input = (node.input ?? []).slice(0, 2);
    else if (isUnseeded(node)) {
      const { FLOAT } = onnx.AttributeProto.AttributeType;
      node.attribute = [...(node.attribute ?? []), { name: "seed", type: FLOAT, f: 1 }];
    }
  }
  const dropouts = drawn.filter(isDropout).length;
  const others = [...new Set(drawn.filter((node) => !isDropout(node)).map(({ opType }) => opType ?? ""))];
  const changes = [
    ...(dropouts > 0
      ? [
          `the draws of ${dropouts} Dropout ${dropouts === 1 ? "node" : "nodes"} in training form switched off`,
        ]
      : []),
    ...(others.length > 0 ? [`one seed for ${listed(others)}`] : []),
  ];
  return { model: Model.fromProto(proto, model), change: changes.join(", ") };
}

/** Whether a node is a Dropout with a training mode. */
const isDropout = ({ opType, domain, input }: onnx.NodeProto.$Properties): boolean =>
  opType === "Dropout" && !domain && !!input?.[2];

const isUnseeded = ({ opType, domain, attribute }: onnx.NodeProto.$Properties): boolean =>
  !domain && drawingOperators.has(opType ?? "") && !attribute?.some(({ name }) => name === "seed");

/** All nodes of a model: those of its graph, its functions, and the bodies in them. */
function nodesOf(proto: onnx.ModelProto.$Properties): onnx.NodeProto.$Properties[] {
  const withBodies = (nodes: readonly onnx.NodeProto.$Properties[]): onnx.NodeProto.$Properties[] =>
    nodes.flatMap((node) => [node, ...bodiesOf(node).flatMap((body) => withBodies(body.node ?? []))]);
  return [
    ...withBodies(proto.graph?.node ?? []),
    ...(proto.functions ?? []).flatMap(({ node }) => withBodies(node ?? [])),
  ];
}

import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/index.ts";
import { onnx } from "../../src/onnx/schema.js";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { info } from "../inject/models.ts";

/** x → Relu before → Loop total, three trips, whose body computes `inner` → y. */
export function loopModel(): Model {
  const b = new GraphBuilder(18);
  const before = b.op("Relu", [b.input("x", [2])], "before");
  const body = new onnx.GraphProto({
    name: "body",
    input: [info("trip", "int64", []), info("on", "bool", []), info("state", "float", [2])],
    output: [info("on_out", "bool", []), info("state_out", "float", [2])],
    node: [
      { opType: "Identity", input: ["on"], output: ["on_out"] },
      { opType: "Tanh", input: ["state"], output: ["inner"] },
      { opType: "Add", input: ["state", "inner"], output: ["state_out"] },
    ],
  });
  const total = b.op("Loop", [b.int64("trips", 3), null, before], "total", {
    body: { kind: "graph", value: body },
  });
  b.output(b.op("Neg", [total], "y"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

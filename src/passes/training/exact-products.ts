import { int } from "../../graph/attribute.ts";
import { changes, defineGraphPass } from "../pass.ts";

/** The number with which MatMulNBits is asked to compute in float32; greater ones let it round its inputs, 4 to int8. */
const float32 = 1;

/**
 * Products with weights of a few bits compute in float32. Exporters let ONNX Runtime round the activations too, to int8:
 * faster, but no function whose derivative the gradient is.
 *
 *     y = MatMulNBits(x, …) {accuracy_level=4}  →  y = MatMulNBits(x, …) {accuracy_level=1}
 */
export const exactProducts = defineGraphPass({
  name: "exact-products",
  options: {},
  run(graph) {
    const rounding = graph.nodes.filter(
      (node) => node.op === "com.microsoft.MatMulNBits" && node.int("accuracy_level", 0) > float32,
    );
    for (const node of rounding) node.attributes.set("accuracy_level", int(float32));
    return changes(rounding.length, "product", "no product may round its inputs");
  },
});

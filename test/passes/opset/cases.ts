import { Tensor } from "../../../src/onnx/tensor.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import type { Makers } from "../pass-case.ts";

/** Small graphs for the passes of src/passes/opset. */
export const opsetCases = {
  raiseOpset: () => {
    const b = new GraphBuilder(11);
    const s = b.op("Squeeze", [b.input("x", [2, 1, 3])], "s", { axes: [1] });
    return b.output(b.op("Clip", [s, b.graph.addInitializer(Tensor.float("low", [], [0]))], "y"));
  },
} satisfies Makers;

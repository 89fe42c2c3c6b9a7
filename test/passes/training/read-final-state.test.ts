import { expect, test } from "vitest";
import { graphToProto } from "../../../src/graph/proto.ts";
import { encodeModelProto } from "../../../src/onnx/codec.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { readFinalState } from "../../../src/passes/training/read-final-state.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { inferred } from "../../helpers/inferred.ts";
import { randomFloats } from "../../helpers/numbers.ts";
import { passContext } from "../../helpers/pass-context.ts";

const [steps, batch, features, units] = [4, 5, 3, 2];

interface Form {
  readonly op: "LSTM" | "GRU" | "RNN";
  readonly direction?: "forward" | "reverse" | "bidirectional";
  readonly step: number;
  /** Axes of the output [steps, directions, batch, units] before the step is read, after a Squeeze of the directions. */
  readonly perm?: readonly number[];
  readonly lengths?: boolean;
  /** How many states the pass finds: none where the last step is not the final state. */
  readonly found: number;
}

const forms: readonly Form[] = [
  { op: "LSTM", step: -1, perm: [1, 0, 2], found: 1 },
  { op: "GRU", step: steps - 1, perm: [2, 0, 1], found: 1 },
  { op: "RNN", step: -1, found: 1 },
  { op: "LSTM", direction: "reverse", step: 0, perm: [2, 1, 0], found: 1 },
  { op: "LSTM", direction: "reverse", step: -1, found: 0 },
  { op: "LSTM", direction: "bidirectional", step: -1, found: 0 },
  { op: "GRU", step: -2, found: 0 },
  { op: "LSTM", step: -1, lengths: true, found: 0 },
];

test.each(forms)("the step that $op holds by itself: %o", async (form) => {
  const { op, direction = "forward", step, perm = [0, 1, 2], lengths, found } = form;
  const b = new GraphBuilder();
  const [directions, gates] = [direction === "bidirectional" ? 2 : 1, { LSTM: 4, GRU: 3, RNN: 1 }[op]];
  const weights = [features, units].map((width, i) => b.weight(`w${i}`, [directions, gates * units, width]));
  const ends = lengths
    ? [null, b.graph.addInitializer(Tensor.of("ends", "int32", [batch], Int32Array.of(4, 2, 3, 1, 4)))]
    : [];
  const x = b.input("x", [steps, batch, features]);
  const y = b.op(op, [x, ...weights, ...ends], "y", { hidden_size: units, direction });
  const one = directions === 1 ? b.op("Squeeze", [y, b.int64("axis", [1])], "one") : y;
  const turned = directions === 1 ? b.op("Transpose", [one], "turned", { perm }) : one;
  const axis = directions === 1 ? perm.indexOf(0) : 0;
  const last = b.op("Gather", [turned, b.int64("step", step)], "last", { axis });
  const graph = await inferred(b.output(b.op("Neg", [last], "z")));
  const feeds = new Map([
    ["x", Tensor.float("x", x.shape ?? [], randomFloats("x", steps * batch * features))],
  ]);
  const result = async () => {
    const bytes = encodeModelProto(graphToProto(graph, { irVersion: 9 }));
    return [...(await nodeProbe.run(bytes, feeds)).values()].map((tensor) => [...tensor.numbers()]);
  };
  const before = await result();
  const { changed } = await readFinalState().run(graph, passContext(graph));
  expect(changed).toBe(found > 0);
  expect(graph.nodes.filter((node) => node.op === "Gather")).toHaveLength(1 - found);
  expect(await result()).toEqual(before);
});

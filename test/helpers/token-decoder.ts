import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/index.ts";
import { GraphBuilder } from "./build-graph.ts";

/** Tokens that {@link tokenDecoder} knows. */
export const words = 24;

/** Scores of the next token from the tokens, their places and the token before. */
export function tokenDecoder(): Model {
  const b = new GraphBuilder(21);
  const [ids, mask] = ["input_ids", "attention_mask"].map((name) =>
    b.input(name, ["batch", "sequence"], "int64"),
  ) as [Value, Value];
  const one = b.int64("one", 1);
  const places = b.op("Mul", [b.op("CumSum", [mask, one], "sums"), mask], "places");
  const word = b.op("Gather", [b.weight("words", [words, 6]), ids], "word");
  const place = b.op("Gather", [b.weight("positions", [16, 6]), places], "place");
  const cut = [b.int64("start", [0]), b.int64("end", [-1]), b.int64("axis", [1])];
  const before = b.op("Pad", [b.op("Slice", [ids, ...cut], "cut"), b.int64("pads", [0, 1, 0, 0])], "before");
  const known = b.op("And", [b.op("Greater", [before, one], "g"), b.op("Equal", [mask, one], "e")], "known");
  const shown = b.op(
    "Unsqueeze",
    [b.op("Cast", [known], "shown", { to: 1 }), b.int64("last", [2])],
    "weight",
  );
  const sum = b.op("Mul", [b.op("Add", [word, place], "sum"), shown], "hidden");
  const scores = b.op("MatMul", [sum, b.weight("head", [6, words])], "logits");
  return Model.fromProto(graphToProto(b.output(scores), { irVersion: 9 }));
}

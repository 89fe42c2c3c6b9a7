import { describe, expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  crossEntropy,
  type Dataset,
  evaluateModel,
  generatorDataset,
  Model,
  namedDataset,
  type Objective,
  predict,
  Trainer,
} from "../../src/index.ts";
import { contrastive, infoNce, triplet } from "../../src/losses/public.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** Means of the rows that an embedding of ten has for four tokens, and a layer. */
function encoder(): Model {
  const b = new GraphBuilder(17);
  const ids = b.input("input_ids", ["batch", 4], "int64");
  const rows = b.op("Gather", [b.weight("words", [10, 6]), b.op("Identity", [ids], "same")], "rows");
  const mean = b.op("ReduceMean", [rows], "mean", { axes: [1], keepdims: 0 });
  return Model.fromProto(
    graphToProto(b.output(b.op("Gemm", [mean, b.weight("w", [6, 3]), b.weight("c", [3])], "out")), {
      irVersion: 8,
    }),
  );
}

const labels = { data: Int32Array.from({ length: 8 }, (_, i) => i % 3) };

/** Eight samples of some texts each, with one token that is given. */
function tokens(texts: number, token: number): { data: Int32Array; shape: number[] } {
  const data = Int32Array.from({ length: 8 * texts * 4 }, (_, i) => i % 10);
  data[5] = token;
  return { data, shape: texts === 1 ? [4] : [texts, 4] };
}

interface Case {
  readonly objective: Objective;
  readonly make: (token: number) => Dataset;
  readonly siamese?: number;
}
const named = (texts: number, token: number, more = {}) =>
  namedDataset({ inputs: { input_ids: tokens(texts, token) }, ...more });

const cases: Readonly<Record<string, Case>> = {
  classes: { objective: crossEntropy(), make: (token) => named(1, token, { labels }) },
  "classes of x": {
    objective: crossEntropy(),
    make: (token) => arrayDataset(tokens(1, token).data, labels.data, [4]),
  },
  pairs: { objective: contrastive(), make: (token) => named(2, token), siamese: 2 },
  "pairs of infoNce": { objective: infoNce(), make: (token) => named(2, token), siamese: 2 },
  triplets: { objective: triplet(), make: (token) => named(3, token), siamese: 3 },
  "triplets by classes": { objective: triplet(), make: (token) => named(1, token, { labels }) },
};

async function run(objective: Objective, data: Dataset, siamese?: number): Promise<void> {
  const trainer = await Trainer.create(encoder(), {
    ...{ objective, batch: 4, threads: 1 },
    ...(siamese !== undefined && { siamese }),
  });
  try {
    for await (const _ of trainer.fit(data));
  } finally {
    await trainer.release();
  }
}

describe("a token for which the model has no embedding is named with the data and the embedding", () => {
  it.each(Object.entries(cases))("%s", async (_, { objective, make, siamese }) => {
    const how = { objective, batch: 4 };
    await run(objective, make(3), siamese);
    for (const token of [10, 99, -1, -11]) {
      const data = make(token);
      const says = `holds the number ${token}, and "words", in which the model looks it up, has 10 rows (0 … 9)`;
      await expect(run(objective, data, siamese)).rejects.toThrow(says);
      await expect(evaluateModel(encoder(), data, how)).rejects.toThrow(says);
      await expect(predict(encoder(), data, how).next()).rejects.toThrow(says);
    }
  });

  it("data whose range nobody knows before they are read", async () => {
    const data = await generatorDataset(
      function* () {
        for (let i = 0; i < 8; i++) yield { input_ids: Int32Array.of(1, 2, 3, i === 6 ? 99 : 4), y: i % 3 };
      },
      { size: 8 },
    );
    const says =
      /^the data hold the number 99, and the table in which "rows" looks it up has its last row at 9: use/;
    for (const call of [() => run(crossEntropy(), data), () => evaluateModel(encoder(), data, { batch: 4 })])
      await expect(call()).rejects.toMatchObject({ code: "data", message: expect.stringMatching(says) });
  });
});

import { describe, expect, it } from "vitest";
import { parseMark } from "../../src/block/mark.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  binaryCrossEntropy,
  crossEntropy,
  inject,
  l1,
  Model,
  meanSquaredError,
  type Objective,
  so,
  strip,
  Tensor,
  verify,
} from "../../src/index.ts";
import { binaryFocal, cosine, distillation, huber, smoothL1 } from "../../src/losses/public.ts";
import { objectiveNamed, objectiveNames } from "../../src/losses/table.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

const classes = 4;
const penalties = [{ penalty: so(), weight: 0 }];

/** Scores of 4 classes: a row each, places of a sequence [batch, places, classes] or of an image [batch, classes, places]. */
const layouts = { rows: [3], last: [3, 5], image: [3, 5] } as const;
type Layout = keyof typeof layouts;

function scores(layout: Layout, opset: number): Model {
  const b = new GraphBuilder(opset);
  const places = layout === "rows" ? [] : [5];
  const x = b.input("x", ["N", ...places, 6]);
  const y = b.op("MatMul", [x, b.weight("w", [6, classes])], "y");
  const end: Value = layout === "image" ? b.op("Transpose", [y], "t", { perm: [0, 2, 1] }) : y;
  return Model.fromProto(graphToProto(b.output(end), { irVersion: 8 }));
}

/** Labels of every place: classes (some of them −100 if asked for), or a share for each score that sums to 1 over classes. */
function labelsFor(objective: Objective, layout: Layout, shape: readonly number[]): Tensor {
  const form = objective.injected;
  const dims = (form?.axes(shape) ?? []).map((axis) => shape[axis] ?? 0);
  const count = dims.reduce((a, b) => a * b, 1);
  const ignored = objective.options.ignoreIndex;
  if (form?.labels === "int64") {
    const label = (i: number) => (typeof ignored === "number" && i % 3 === 1 ? ignored : (i * 7) % classes);
    return Tensor.int64(
      "labels",
      dims,
      Array.from({ length: count }, (_, i) => label(i)),
    );
  }
  const inner = layout === "image" ? 5 : 1;
  const share = (i: number) => {
    const [place, c] = [Math.floor(i / inner / classes) + (i % inner), Math.floor(i / inner) % classes];
    return [0.5, 0.25, 0.25, 0][(place + c) % classes] ?? 0;
  };
  return Tensor.float(
    "labels",
    dims,
    Array.from({ length: count }, (_, i) => share(i)),
  );
}

const cases: readonly (readonly [Objective, Layout, number])[] = [
  [crossEntropy(), "rows", 11],
  [crossEntropy(), "rows", 17],
  [crossEntropy(), "image", 12],
  [crossEntropy({ classAxis: -1 }), "last", 11],
  [crossEntropy({ classAxis: -1 }), "last", 18],
  [crossEntropy({ ignoreIndex: -100 }), "rows", 12],
  [crossEntropy({ ignoreIndex: 2, classAxis: -1 }), "last", 17],
  [crossEntropy({ ignoreIndex: -100 }), "image", 17],
  [crossEntropy({ labelSmoothing: 0.1 }), "rows", 11],
  [crossEntropy({ labelSmoothing: 0.1 }), "image", 13],
  [crossEntropy({ labelSmoothing: 0.2, ignoreIndex: -100, classAxis: -1 }), "last", 17],
  [crossEntropy({ labels: "probabilities" }), "rows", 9],
  [crossEntropy({ labels: "probabilities", labelSmoothing: 0.1 }), "image", 17],
  [crossEntropy({ labels: "probabilities", classAxis: -1 }), "last", 12],
  [crossEntropy({ classWeights: [1, 2, 0, 4] }), "rows", 12],
  [crossEntropy({ classWeights: [1, 2, 0, 4], ignoreIndex: -100 }), "image", 17],
  [crossEntropy({ classWeights: [1, 2, 0.5, 4], labelSmoothing: 0.2, ignoreIndex: -100 }), "rows", 13],
  [crossEntropy({ classWeights: [1, 2, 0.5, 4], labels: "probabilities", classAxis: -1 }), "last", 17],
  [crossEntropy({ focus: 2 }), "rows", 12],
  [crossEntropy({ focus: 1.5, classWeights: [1, 2, 0.5, 4], ignoreIndex: -100 }), "image", 17],
  [distillation({ temperature: 2 }), "rows", 9],
  [distillation({ temperature: 2, classAxis: -1 }), "last", 17],
  ...[meanSquaredError(), l1(), binaryCrossEntropy(), binaryCrossEntropy({ positiveWeight: 3 })].map(
    (objective) => [objective, "last", 17] as const,
  ),
  ...[
    binaryFocal(),
    binaryFocal({ gamma: 0, alpha: "none" }),
    huber({ delta: 0.3 }),
    smoothL1(),
    cosine(),
  ].map((objective) => [objective, "last", 17] as const),
];

describe("an injected loss is the one that is trained with", () => {
  it.each(
    cases.map(
      (one) =>
        [`${one[0].name} ${JSON.stringify(one[0].options)}, ${one[1]}, opset ${one[2]}`, ...one] as const,
    ),
  )("%s", async (_, objective, layout, opset) => {
    const model = scores(layout, opset);
    const injected = await inject(model, { penalties, objective });
    const x = Tensor.float(
      "x",
      [...layouts[layout], 6],
      randomFloats("x", layout === "rows" ? 18 : 90, -2, 2),
    );
    const { loss, ...outputs } = await runModel(injected.bytes, {
      x,
      labels: labelsFor(
        objective,
        layout,
        layout === "rows" ? [3, 4] : layout === "last" ? [3, 5, 4] : [3, 4, 5],
      ),
    });
    const prediction = outputs[layout === "image" ? "t" : "y"];
    const shape = prediction?.dims ?? [];
    const labels = labelsFor(objective, layout, shape).numbers();
    objective.checkLabels(labels, shape);
    const figures = objective.evaluate(prediction?.numbers() ?? [], labels, 3, shape);
    const { loss: sum, counted = 3, weight = counted } = figures;
    expect(loss?.numbers()[0]).toBeCloseTo(sum / weight, 5);

    const { passed, checks } = await verify(model, injected);
    expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
    expect(passed).toBe(true);
    expect(Buffer.compare(strip(injected).bytes, model.bytes)).toBe(0);
  });

  it("every loss of the table has a form for files, but those of embeddings", () => {
    for (const name of objectiveNames) {
      const { injected, embeds } = objectiveNamed(name);
      expect(injected === undefined, name).toBe(embeds !== undefined);
    }
  });

  it("keeps options that are not the defaults in the mark, and leaves those out that are", async () => {
    const markOf = async (objective: string | Objective) => {
      const { proto } = await inject(scores("rows", 17), { penalties, objective });
      return parseMark(proto.metadataProps.find(({ key }) => key === "sorth")?.value ?? "").objective;
    };
    expect(await markOf(crossEntropy({ ignoreIndex: -1, labelSmoothing: 0.1 }))).toMatchObject({
      options: { ignoreIndex: -1, labelSmoothing: 0.1 },
    });
    expect(await markOf(crossEntropy())).toEqual(await markOf("cross-entropy"));
    expect((await markOf("cross-entropy"))?.options).toBeUndefined();
  });
});

describe("inject refuses", () => {
  it.each([
    [
      "ignored labels before opset 12",
      crossEntropy({ ignoreIndex: -1 }),
      "rows",
      11,
      /an ignored label.*needs opset 12.*has 11/,
    ],
    ["class labels before opset 11", crossEntropy(), "rows", 10, /class labels needs opset 11.*has 10/],
    [
      "smoothing of images before opset 13",
      crossEntropy({ labelSmoothing: 0.1 }),
      "image",
      12,
      /needs opset 13/,
    ],
    [
      "a name that no loss has",
      "hinge",
      "rows",
      17,
      /no objective "hinge"; there are cross-entropy, mse, l1, bce,/,
    ],
  ] as const)("%s", async (_, objective, layout, opset, reason) => {
    await expect(inject(scores(layout, opset), { penalties, objective })).rejects.toThrow(reason);
  });

  it("a loss of one's own that says no form for files, and takes one that does, without options", async () => {
    const { injected: form, options: _, ...own } = { ...l1(), name: "mine" };
    const objective = own as unknown as Objective;
    await expect(inject(scores("rows", 17), { penalties, objective })).rejects.toThrow(
      /the objective "mine" has no form for injected files/,
    );
    const taken = { ...own, injected: form } as unknown as Objective;
    const { proto } = await inject(scores("rows", 17), { penalties, objective: taken });
    expect(proto.graph?.output?.map(({ name }) => name)).toContain("loss");
  });
});

import { expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { crossEntropy, Model, type PenaltyPlan, Tensor } from "../../src/index.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import { sgd } from "../../src/optimizers/public.ts";
import { type Lowering, loweringFor } from "../../src/passes/backends/table.ts";
import { rowsLayout } from "../../src/passes/layout/rows-layout.ts";
import { barlow, decov, definePenalty, so, som, srip } from "../../src/penalties/public.ts";
import { initialTensors } from "../../src/programs/initial-state.ts";
import { allInModel, modelPorts } from "../../src/programs/state-layout.ts";
import { buildStep, type StepOptions } from "../../src/programs/step.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, relativeError } from "../helpers/numbers.ts";
import { advanced, opened, type Values } from "../helpers/step-graphs.ts";
import { allOnRows } from "../passes/layout/both-layouts.ts";

const vector = (b: GraphBuilder, name: string, length: number, value: number) =>
  b.graph.addInitializer(Tensor.float(name, [length], Array<number>(length).fill(value)));

/** Two residual convolutions with normalization, a bias and Dropout, then a mean over positions and a classifier. */
function residual(): Model {
  const b = new GraphBuilder();
  const padded = { pads: [1, 1, 1, 1] };
  const normalized = (x: Parameters<GraphBuilder["op"]>[1][number], name: string) =>
    b.op(
      "BatchNormalization",
      [
        x,
        ...(["scale", "bias", "mean", "variance"] as const).map((part) =>
          vector(b, `${name}.${part}`, 8, part === "scale" || part === "variance" ? 1 : 0),
        ),
      ],
      name,
    );
  const x = b.input("x", [6, 3, 6, 6]);
  const c1 = b.op("Conv", [x, b.weight("c1.w", [8, 3, 3, 3]), b.weight("c1.b", [8])], "c1", {
    ...padded,
    strides: [2, 2],
  });
  const r = b.op("Relu", [normalized(c1, "n1")], "r");
  const c2 = b.op("Conv", [r, b.weight("c2.w", [8, 8, 1, 1])], "c2");
  const ratio = b.graph.addInitializer(Tensor.float("ratio", [], [0.5]));
  const sum = b.op("Add", [b.op("Dropout", [normalized(c2, "n2"), ratio], "d"), r], "sum");
  const pooled = b.op("Flatten", [b.op("GlobalAveragePool", [b.op("Relu", [sum], "r2")], "pool")], "flat");
  const y = b.op("Gemm", [pooled, b.weight("fc.w", [8, 4]), b.weight("fc.b", [4])], "y");
  return Model.fromProto(graphToProto(b.output(y), { irVersion: 9 }));
}

const onRows: Lowering = { layout: async (facts) => rowsLayout({ ...facts, costs: allOnRows }), passes: [] };

/** Losses and penalties of six steps, and the parameters after them. */
async function sixSteps(options: Partial<StepOptions>) {
  const step = await buildStep(
    residual(),
    { objective: crossEntropy(), optimizer: sgd(), ...options },
    nodeProbe,
  );
  const run = await opened(step.model);
  const { ports } = step;
  const scalar = (value: number) => Tensor.float("", [], [value]);
  let state: Values = Object.fromEntries(initialTensors(step));
  const figures: number[][] = [];
  for (let i = 0; i < 6; i++) {
    const feeds: Values = {
      ...state,
      x: Tensor.float("x", [6, 3, 6, 6], randomFloats(`x of step ${i}`, 648)),
      labels: Tensor.of("labels", "int32", [6], Int32Array.from([0, 1, 2, 3, 1, 2])),
      learning_rate: scalar(0.05),
      step: scalar(i + 1),
      penalty_weight: scalar(0.3),
      ...Object.fromEntries(
        ports.draws.map(({ name, shape }) => [
          name,
          Tensor.float(name, shape, randomFloats(name, elementCount(shape))),
        ]),
      ),
      ...Object.fromEntries(
        (ports.masks ?? []).map(({ name, shape }) => [
          name,
          Tensor.float(
            name,
            shape,
            randomFloats(`mask ${i}`, 432).map((u) => (u > 0 ? 1 : 0)),
          ),
        ]),
      ),
    };
    const outputs = await run(feeds);
    figures.push(["loss", "penalty"].flatMap((name) => [...(outputs[name]?.numbers() ?? [])]));
    state = advanced(state, outputs);
  }
  return {
    step,
    figures: figures.flat(),
    weights: [...(allInModel(ports, new Map(Object.entries(state))).get("c1.w") as Tensor).numbers()],
  };
}

/** Counts on axis 1 for its units, as a penalty of a user's own may. */
const byAxis = definePenalty({
  name: "by-axis",
  summary: "the squared mean of each channel",
  on: "responses",
  defaults: {},
  build: ({ g, response }) => g.reduceMean(g.square(g.reduceMean(response, [0, 2, 3]))),
});

const plan = (penalty: PenaltyPlan["penalty"]): Partial<StepOptions> => ({
  penalties: [{ penalty, include: /^c/ }],
});

test.each<[string, Partial<StepOptions>]>([
  ["no penalty", {}],
  ["frozen statistics", { batchNorm: "frozen" }],
  ["recomputed activations", { recompute: true }],
  ["som", plan(som())],
  ["som at some positions", plan(som({ maxRows: 4, seed: 3 }))],
  ["som, centred and scaled", plan(som({ center: true, scale: "rms", maxRows: 3 }))],
  ["som without bias", plan(som({ bias: "remove" }))],
  ["som of random directions", plan(som({ rows: "random" }))],
  ["som of weights", plan(som({ angles: "weights" }))],
  [
    "decov and so",
    {
      penalties: [
        { penalty: decov(), include: /^c/ },
        { penalty: so(), include: /^c/ },
      ],
    },
  ],
  ["barlow", plan(barlow())],
  ["srip", plan(srip())],
  ["a penalty of the caller's own", plan(byAxis())],
])("six steps on rows and on images give the same losses: %s", async (_, options) => {
  const images = await sixSteps(options);
  const rows = await sixSteps({ ...options, lower: onRows });
  expect(rows.step.penalized).toEqual(images.step.penalized);
  expect(rows.step.skipped).toEqual(images.step.skipped);
  expect(modelPorts(rows.step.ports)).toEqual(modelPorts(images.step.ports));
  expect([...rows.step.initial.keys()]).toEqual([...images.step.initial.keys()]);
  const ops = (step: typeof rows.step) => step.model.proto.graph?.node?.map(({ opType }) => opType) ?? [];
  expect(ops(rows.step)).not.toContain("Conv");
  expect(ops(images.step)).toContain("Conv");
  expect(relativeError(rows.figures, images.figures)).toBeLessThan(1e-5);
  expect(relativeError(rows.weights, images.weights)).toBeLessThan(1e-4);
});

test("values that the options name stay, and only backends that gain have the pass", async () => {
  const options = { objective: crossEntropy(), optimizer: sgd(), output: "flat", lower: onRows };
  const step = await buildStep(residual(), options, nodeProbe);
  expect(step.ports.labels?.name).toBe("labels");
  const with_ = await Promise.all(
    (["cpu", "wasm", "cuda", "webgpu"] as const).map(async (name) => [
      name,
      "layout" in (await loweringFor(name, nodeProbe)),
    ]),
  );
  expect(Object.fromEntries(with_)).toEqual({ cpu: true, wasm: true, cuda: false, webgpu: false });
});

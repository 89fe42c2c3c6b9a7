import { describe, expect, it } from "vitest";
import { int, ints, string } from "../../src/graph/attribute.ts";
import { Graph } from "../../src/graph/graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  type ArtifactOptions,
  adamwOrt,
  arrayDataset,
  buildArtifacts,
  crossEntropy,
  decodeModel,
  encodeCheckpoint,
  encodeModel,
  inject,
  type Model,
  meanSquaredError,
  rescueModel,
  som,
  Tensor,
  Trainer,
} from "../../src/index.ts";
import { Model as OnnxModel } from "../../src/onnx/model.ts";
import { uniform } from "../helpers/lcg.ts";
import { OfficialSession } from "../helpers/official-runtime.ts";
import { largestDifference, officialBatch, officialFile, pytorch } from "./official-fixtures.ts";
import { showingGradients } from "./showing-gradients.ts";

const forward = (name: string): Model => decodeModel(officialFile(`${name}/forward.onnx`));
const penalties = [{ penalty: som({ lambda1: 100 }), weight: pytorch.weight }];
const batchOf = (name: string): number => (pytorch.networks[name] ?? pytorch.cases[name])?.shape[0] ?? 1;
const build = (name: string, options: ArtifactOptions = {}) =>
  buildArtifacts(forward(name), { objective: crossEntropy(), batch: batchOf(name), ...options });

async function open(
  { training, eval: evalModel, optimizer, checkpoint }: Awaited<ReturnType<typeof build>>,
  trainModel = encodeModel(training),
): Promise<OfficialSession> {
  return OfficialSession.create({
    checkpointState: encodeCheckpoint(checkpoint),
    trainModel,
    evalModel: encodeModel(evalModel),
    optimizerModel: encodeModel(optimizer),
  });
}

const dataset = ({ x, labels }: { x: Tensor; labels: Tensor }) =>
  arrayDataset(x.data as Float32Array, Int32Array.from(labels.numbers()), x.dims.slice(1));

async function losses(session: OfficialSession, name: string): Promise<number[]> {
  const result: number[] = [];
  for (let index = 0; index < 20; index++) {
    const { loss } = await session.step(officialBatch(name, index));
    result.push(loss?.numbers()[0] ?? Number.NaN);
  }
  return result;
}

describe.each(Object.keys(pytorch.networks))("artifacts of the %s", (name) => {
  const figures = pytorch.networks[name];

  it("train in ONNX Runtime's own session as PyTorch does, and evaluate as our Trainer", async () => {
    const session = await open(await build(name));
    expect(session.inputNames).toEqual(["x", "labels"]);
    expect(session.outputNames).toEqual(["loss"]);
    expect(largestDifference(await losses(session, name), figures?.plain.adamw ?? [])).toBeLessThan(1e-5);
    const { loss } = await session.evaluate(officialBatch(name, 0));
    await session.release();

    // The same steps by the Trainer: its evaluation reads the running statistics.
    const trainer = await Trainer.create(forward(name), {
      ...{ objective: crossEntropy(), optimizer: adamwOrt(), batch: batchOf(name) },
    });
    for (let index = 0; index < 20; index++) {
      const data = dataset(officialBatch(name, index));
      for await (const _ of trainer.fit(data, { epochs: trainer.steps + 1 }));
    }
    const expected = await trainer.evaluate(dataset(officialBatch(name, 0)));
    await trainer.release();
    expect(loss?.numbers()[0]).toBeCloseTo(expected.loss, 5);
  });

  it("train with a penalty, given at once or injected later", async () => {
    const once = await build(name, { penalties });
    const later = await build(name);
    const injected = await inject(later.training, { penalties });
    for (const session of [await open(once), await open(later, encodeModel(injected))]) {
      expect(session.outputNames).toEqual(["loss", "sorth_penalty"]);
      expect(largestDifference(await losses(session, name), figures?.som.adamw ?? [])).toBeLessThan(1e-5);
      await session.release();
    }
  });
});

describe("artifacts", () => {
  for (const [name, figures] of Object.entries(pytorch.cases)) {
    it(`${name}: every gradient is PyTorch's, plain, with SOM, and with SOM injected later`, async () => {
      const frozen: Record<string, RegExp> = {
        "frozen-first": /^a\./,
        "frozen-middle": /^b\./,
        "bias-only": /weight/,
      };
      const options = { tie: /^/, ...(frozen[name] && { freeze: frozen[name] }) };
      const plain = await build(name, options);
      const forms = [
        [plain, plain.training, figures.plain],
        [plain, await inject(plain.training, { penalties }), figures.som],
      ] as const;
      const once = await build(name, { ...options, penalties });
      for (const [artifacts, training, expected] of [...forms, [once, once.training, figures.som] as const]) {
        const names = Object.keys(expected.gradients);
        expect(artifacts.checkpoint.parameters.map((tensor) => tensor.name).sort()).toEqual(names.sort());
        const session = await open(artifacts, showingGradients(training, names));
        const outputs = await session.accumulate(officialBatch(name, 0));
        await session.release();
        expect(outputs.loss?.numbers()[0]).toBeCloseTo(expected.loss, 5);
        for (const [parameter, gradient] of Object.entries(expected.gradients)) {
          const scale = Math.max(1, ...gradient.map(Math.abs));
          const found = outputs[`shown/${parameter}`]?.numbers() ?? [];
          expect(largestDifference(found, gradient) / scale, parameter).toBeLessThan(1e-5);
        }
      }
    });
  }

  it("of models that the official builder refuses train as by our Trainer", async () => {
    for (const [op, model] of Object.entries(refusedByTheOfficialBuilder())) {
      const options = { objective: meanSquaredError(), optimizer: adamwOrt() };
      const x = Tensor.float("x", [4, 6, 5], uniform(`${op}.x`, 120));
      const trainer = await Trainer.create(model, options);
      const width = trainer.step.ports.labels?.shape.slice(1) ?? [];
      const labels = Tensor.float(
        "labels",
        [4, ...width],
        uniform(`${op}.y`, 4 * width.reduce((a, b) => a * b, 1)),
      );
      const data = arrayDataset(x.data as Float32Array, labels.data as Float32Array, [6, 5], {
        targetShape: width,
      });
      const expected: number[] = [];
      for (let index = 0; index < 10; index++) {
        for await (const event of trainer.fit(data, { epochs: index + 1 })) {
          if (event.event === "step") expected.push(event.loss);
        }
      }
      await trainer.release();
      const session = await open(await buildArtifacts(model, { objective: meanSquaredError() }));
      const found: number[] = [];
      for (let index = 0; index < 10; index++) {
        found.push((await session.step({ x, labels })).loss?.numbers()[0] ?? Number.NaN);
      }
      await session.release();
      expect(largestDifference(found, expected), op).toBeLessThan(1e-5);
      expect(found[9], op).toBeLessThan(found[0] ?? 0);
    }
  });

  it("with BatchNorm are not rescued: their forward model is trained instead", async () => {
    const { training, checkpoint } = await build("cnn");
    expect(() => rescueModel(training, checkpoint)).toThrow(
      /written by sorth-onnx artifacts and updates "b1.running_mean"/,
    );
    const mlp = await build("mlp");
    expect(rescueModel(mlp.training, mlp.checkpoint).options.loss).toBe("loss");
  });

  it("of a model with a value named labels load, the eval model too", async () => {
    for (const objective of [meanSquaredError(), crossEntropy()]) {
      const model = matrixModel("taken", (graph, x) => [
        graph.addNode({ opType: "Relu", name: "r", inputs: [x], outputs: ["labels"] }),
        graph.addNode({
          opType: "ReduceSum",
          name: "s",
          inputs: [graph.valueNamed("labels"), graph.addInitializer(Tensor.int64("axes", [1], [1]))],
          outputs: ["y"],
          attributes: new Map([["keepdims", int(0)]]),
        }),
      ]);
      const session = await open(await buildArtifacts(model, { objective }));
      const x = Tensor.float("x", [4, 6, 5], uniform("taken.x", 120));
      const own = session.inputNames.find((name) => name !== "x") ?? "";
      expect(own).toBe("step/labels");
      const target =
        objective.name === "mse"
          ? Tensor.float(own, [4, 5], uniform("taken.y", 20))
          : Tensor.int64(own, [4], [0, 1, 2, 3]);
      const feeds = { x, [own]: target };
      const { loss } = await session.accumulate(feeds);
      expect((await session.evaluate(feeds)).loss?.numbers()[0]).toBeCloseTo(loss?.numbers()[0] ?? 0, 5);
      await session.release();
    }
  });

  it("draw Dropout anew at each step", async () => {
    const graph = matrixModel("dropout", (whole, x) => [
      whole.addNode({
        ...{ opType: "Dropout", inputs: [x, whole.addInitializer(Tensor.float("ratio", [], [0.5]))] },
        outputs: ["y"],
      }),
    ]);
    const session = await open(await buildArtifacts(graph, { objective: meanSquaredError() }));
    const x = Tensor.float("x", [4, 6, 5], uniform("dropout.x", 120));
    const labels = Tensor.float("labels", [4, 6, 5], uniform("dropout.y", 120));
    const seen = new Set<number>();
    for (let index = 0; index < 4; index++) {
      seen.add((await session.accumulate({ x, labels })).loss?.numbers()[0] ?? Number.NaN);
    }
    await session.release();
    expect(seen.size).toBe(4);
  });

  it("are refused for opset 22 and for float64 parameters, by name", async () => {
    const model = (type: "float" | "double", opset: number) => {
      const graph = new Graph("g", new Map([["", opset]]));
      const x = graph.addInput("x", type, [4, 3]);
      const w =
        type === "float"
          ? Tensor.float("w", [3, 2], uniform("w", 6))
          : Tensor.of("w", "double", [3, 2], Float64Array.from(uniform("w", 6)));
      graph.addNode({ opType: "MatMul", name: "m", inputs: [x, graph.addInitializer(w)], outputs: ["y"] });
      const y = graph.valueNamed("y");
      y.type = type;
      y.shape = [4, 2];
      graph.addOutput(y);
      return OnnxModel.fromProto(graphToProto(graph));
    };
    const objective = meanSquaredError();
    await expect(buildArtifacts(model("float", 22), { objective })).rejects.toThrow(/opset 22; .* up to 21/);
    for (const optimizer of ["lion", adamwOrt()]) {
      const given = { objective, optimizer } as unknown as ArtifactOptions;
      await expect(buildArtifacts(model("float", 18), given)).rejects.toThrow(
        /artifacts cannot train with "(lion|adamw-ort)": .* models of adamw and sgd only, without clipping/,
      );
    }
    await expect(buildArtifacts(model("double", 18), { objective })).rejects.toThrow(
      /"w" is double; .* float32 only/,
    );
  });
});

/** x [4, 6, 5] through a MatMul with a trained weight and then what `after` adds. */
function matrixModel(
  name: string,
  after: (graph: Graph, x: ReturnType<Graph["valueNamed"]>) => readonly ReturnType<Graph["addNode"]>[],
): Model {
  const graph = new Graph(name, new Map([["", 17]]));
  const x = graph.addInput("x", "float", [4, 6, 5]);
  const weight = graph.addInitializer(Tensor.float("fc.weight", [5, 5], uniform(`${name}.weight`, 25)));
  graph.addNode({ opType: "MatMul", name: "fc", inputs: [x, weight], outputs: ["hidden"] });
  const last = after(graph, graph.valueNamed("hidden")).at(-1)?.outputs[0];
  if (last) {
    last.type = "float";
    graph.addOutput(last);
  }
  return OnnxModel.fromProto(graphToProto(graph));
}

function refusedByTheOfficialBuilder(): Record<string, Model> {
  const tensor = (graph: Graph, name: string, dims: number[], scale = 1) =>
    graph.addInitializer(
      Tensor.float(
        name,
        dims,
        uniform(
          name,
          dims.reduce((a, b) => a * b, 1),
          scale,
        ),
      ),
    );
  return {
    PRelu: matrixModel("prelu", (graph, x) => [
      graph.addNode({
        opType: "PRelu",
        name: "act",
        inputs: [x, tensor(graph, "act.weight", [5])],
        outputs: ["y"],
      }),
    ]),
    Einsum: matrixModel("einsum", (graph, x) => [
      graph.addNode({
        ...{
          opType: "Einsum",
          name: "mix",
          inputs: [x, tensor(graph, "mix.weight", [6, 3])],
          outputs: ["y"],
        },
        attributes: new Map([["equation", string("bsd,sk->bkd")]]),
      }),
    ]),
    InstanceNormalization: matrixModel("instance", (graph, x) => [
      graph.addNode({
        ...{ opType: "InstanceNormalization", name: "norm", outputs: ["y"] },
        inputs: [x, tensor(graph, "norm.weight", [6]), tensor(graph, "norm.bias", [6])],
      }),
    ]),
    ReduceSumSquare: matrixModel("squares", (graph, x) => [
      graph.addNode({
        ...{ opType: "ReduceSumSquare", name: "energy", inputs: [x], outputs: ["y"] },
        attributes: new Map([
          ["axes", ints([2])],
          ["keepdims", int(0)],
        ]),
      }),
    ]),
  };
}

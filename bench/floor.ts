import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { int } from "../src/graph/attribute.ts";
import { Emit } from "../src/graph/emit.ts";
import type { Typed } from "../src/graph/emit-base.ts";
import { Graph } from "../src/graph/graph.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { decodeModel, inspect } from "../src/index.ts";
import { encodeModelProto } from "../src/onnx/codec.ts";
import { elementCount } from "../src/onnx/tensor.ts";
import { randomStream } from "../src/random.ts";
import { type Contender, floor } from "./contender.ts";
import { peakMemory } from "./machine.ts";
import type { BenchmarkModel } from "./models.ts";
import { median } from "./statistics.ts";

/** The response of a layer: `samples` matrices of `units` × `positions` numbers. */
interface Response {
  readonly samples: number;
  readonly units: number;
  readonly positions: number;
}

/** The layouts in which the products can be taken: one row for each position, or channels first. */
const forms = ["rows", "channels"] as const;
type Form = (typeof forms)[number];

/**
 * The least that SOM's operators take on stock ONNX Runtime, timed alone: for each layer one Tanh, the Gram product forward, the
 * product of the gradient and one pass for the derivative of tanh. Each layer has the layout that was faster when it was started.
 */
export function floorContender(model: () => BenchmarkModel, threads: number, network = ""): Contender {
  let run: (() => Promise<unknown>) | undefined;
  return {
    runtime: floor,
    network,
    regularized: true,
    start: async () => {
      const start = performance.now();
      const responses = await responsesOf(model());
      const chosen = new Map<string, Form>();
      for (const response of responses) {
        const key = JSON.stringify(response);
        if (!chosen.has(key)) chosen.set(key, await fasterForm(response, threads));
      }
      run = await opened(
        responses.map((response) => [response, chosen.get(JSON.stringify(response)) ?? "rows"]),
        threads,
      );
      await run();
      return { losses: [], seconds: (performance.now() - start) / 1000 };
    },
    run: async (steps) => {
      const start = performance.now();
      for (let i = 0; i < steps; i++) await run?.();
      return (performance.now() - start) / steps;
    },
    peak: async () => peakMemory(),
    close: async () => {},
  };
}

/** The responses of the layers that SOM takes; groups count as samples. */
async function responsesOf({ onnx, x }: BenchmarkModel): Promise<Response[]> {
  const [batch = 1] = x.dims;
  const { sites } = await inspect(decodeModel(onnx));
  const taken = sites.filter(({ penalties }) => penalties.som === true);
  if (taken.length === 0) throw new Error("no layer takes SOM");
  return taken.map(({ name, rows, units, groups }) => {
    if (rows === undefined) throw new Error(`${name}: the number of rows is not known`);
    return { samples: batch * groups, units: units / groups, positions: rows / batch };
  });
}

async function fasterForm(response: Response, threads: number): Promise<Form> {
  if (response.positions === 1) return "rows";
  const times = new Map<Form, number>();
  for (const form of forms) {
    const run = await opened([[response, form]], threads);
    await run();
    const all: number[] = [];
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      await run();
      all.push(performance.now() - start);
    }
    times.set(form, median(all));
  }
  return (times.get("rows") ?? 0) <= (times.get("channels") ?? 0) ? "rows" : "channels";
}

/** Opens a session with the operators for some responses, and returns what runs it on random numbers. */
async function opened(layers: readonly (readonly [Response, Form])[], threads: number) {
  const domains = [
    ["", 18],
    ["com.microsoft", 1],
  ] as const;
  const g = new Emit(new Graph("floor", new Map(domains)), { prefix: "" });
  const feeds: Record<string, OrtTensor> = {};
  for (const [i, [response, form]] of layers.entries()) {
    const { samples, units, positions } = response;
    const shape = form === "rows" ? [samples * positions, units] : [samples, units, positions];
    const y = g.graph.addInput(`y${i}`, "float", shape) as Typed;
    feeds[y.name] = new OrtTensor("float32", randomNumbers(elementCount(shape)), shape);
    g.graph.addOutput(oneNumber(g, form === "rows" ? onRows(g, y) : channelsFirst(g, y)));
  }
  const session = await InferenceSession.create(encodeModelProto(graphToProto(g.graph, { irVersion: 9 })), {
    intraOpNumThreads: threads,
  });
  return () => session.run(feeds);
}

/** Y [rows, units]; the smaller of the two Gram matrices. */
function onRows(g: Emit, y: Typed): Typed {
  const [rows = 0, units = 0] = y.shape as readonly number[];
  const t = g.op("Tanh", [y], y.shape);
  const few = 2 * rows <= units;
  const side = few ? rows : units;
  const attributes = few ? { transB: int(1) } : { transA: int(1) };
  const gram = g.op("Gemm", [t, t], [side, side], { attributes });
  const product = g.op("Gemm", few ? [gram, t] : [t, gram], y.shape);
  return g.op("Mul", [product, t], y.shape);
}

/** Y [samples, units, positions]; one Gram matrix for all samples. */
function channelsFirst(g: Emit, y: Typed): Typed {
  const [samples = 0, units = 0] = y.shape as readonly number[];
  const t = g.op("Tanh", [y], y.shape);
  const each = g.op("FusedMatMul", [t, t], [samples, units, units], {
    domain: "com.microsoft",
    attributes: { transB: int(1) },
  });
  const gram = samples === 1 ? each : g.reduceSum(each, [0]);
  return g.op("Mul", [g.op("MatMul", [gram, t], y.shape), t], y.shape);
}

/** One number of a tensor, so that returning it costs nothing. */
const oneNumber = (g: Emit, x: Typed): Typed =>
  g.slice(
    x,
    x.shape.map((_, axis) => ({ axis, start: 0, length: 1 })),
  );

/** Numbers that Tanh does not saturate. */
function randomNumbers(length: number): Float32Array {
  const stream = randomStream("floor", length);
  return Float32Array.from({ length }, () => 2 * uniformFloat64(stream) - 1);
}

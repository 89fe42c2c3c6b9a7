import { expect, test } from "vitest";
import { memoryText, tellMemory } from "../../src/cli/memory-note.ts";
import { Emit } from "../../src/graph/emit.ts";
import { Graph } from "../../src/graph/graph.ts";
import { type MemoryEstimate, Tensor, Trainer, type TrainerOptions } from "../../src/index.ts";
import { responseMemory } from "../../src/measure/response-memory.ts";
import { type StepMemory, stepMemory } from "../../src/programs/step-memory.ts";
import type { StepPorts } from "../../src/programs/step-ports.ts";
import { builtModel, GraphBuilder } from "../helpers/build-graph.ts";
import { network, plain } from "./small-run.ts";

const none = { parameters: [], statistics: [] } as unknown as StepPorts;

/** Memory of a graph of values [256, 256], which take 256 KiB each. */
function memoryOf(build: (g: Emit, x: ReturnType<Emit["relu"]>) => ReturnType<Emit["relu"]>): StepMemory {
  const graph = new Graph("test", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "" });
  const x = graph.addInput("x", "float", [256, 256]);
  graph.addOutput(build(g, x as ReturnType<Emit["relu"]>));
  return stepMemory(graph, none);
}

const unit = 256 * 256 * 4;

test.each<[string, Parameters<typeof memoryOf>[0], number]>([
  ["a chain of products holds the former and the next", (g, x) => chain(g, x, 4), 2],
  ["the output and the input are not counted", (g, x) => g.matMul(x, x), 0],
  ["elementwise operators write over their input", (g, x) => g.matMul(g.relu(g.tanh(g.matMul(x, x))), x), 1],
  ["a value that is read later stays until then", (g, x) => early(g, x), 3],
  ["a view has no memory of its own", (g, x) => g.matMul(g.reshape(g.matMul(x, x), [256, 256]), x), 1],
])("%s", (_name, build, units) => {
  expect(memoryOf(build)).toEqual({
    activations: units * unit,
    state: 0,
    frozen: expect.any(Number),
    data: unit,
  });
});

function chain(g: Emit, x: ReturnType<Emit["relu"]>, length: number) {
  let y = x;
  for (let i = 0; i < length; i++) y = g.matMul(y, x);
  return g.matMul(y, x);
}

/** The first product is read by the last node. */
function early(g: Emit, x: ReturnType<Emit["relu"]>) {
  const first = g.matMul(x, x);
  return g.matMul(chain(g, first, 3), first);
}

async function estimateOf(options: TrainerOptions): Promise<MemoryEstimate> {
  let found: MemoryEstimate | undefined;
  const trainer = await Trainer.create(network(), { ...plain, ...options, onMemory: (one) => (found = one) });
  const state = [...trainer.state().parameters.values()].reduce(
    (sum, { bytes }) => sum + bytes.byteLength,
    0,
  );
  await trainer.release();
  expect(found?.state).toBeGreaterThanOrEqual(state);
  return found as MemoryEstimate;
}

test("a trainer reports it before its session opens; a larger batch and an average of the weights need more", async () => {
  const [small, large, averaged] = [
    await estimateOf({ batch: 4 }),
    await estimateOf({ batch: 64 }),
    await estimateOf({ batch: 4, ema: 0.9 }),
  ];
  expect(large.activations).toBeGreaterThan(3 * small.activations);
  expect(averaged.state).toBeGreaterThan(small.state);
  expect(small.added).toBeGreaterThan(2 * small.state + small.activations);
});

test("angles of responses take a Gram matrix in float64 for each layer, 128 MiB at most at a time, and as much for results", () => {
  const stack = (layers: number, width: number) => {
    const b = new GraphBuilder(18);
    let x = b.input("x", ["batch", width]);
    const weight = Tensor.of("w", "float", [width, width], new Float32Array(width ** 2));
    const shared = b.graph.addInitializer(weight);
    for (let i = 0; i < layers; i++) x = b.op("MatMul", [x, shared], `y${i}`);
    b.output(x);
    return responseMemory(builtModel(b));
  };
  expect(stack(2, 1024)).toBe(2 * 2 * 1024 ** 2 * 8);
  expect(stack(24, 2048)).toBe(2 * 128 * 2 ** 20);
  // Four kernels, 5 units behind a Transpose, 7 units, and no stored weight.
  const b = new GraphBuilder(18);
  const image = b.input("x", ["batch", 2, 3, 3]);
  const rows = b.op("Flatten", [b.op("Conv", [image, b.weight("k", [4, 2, 3, 3])], "c")], "f");
  const turned = b.op("Transpose", [b.weight("w", [5, 4])], "t", { perm: [1, 0] });
  const five = b.op("MatMul", [rows, turned], "five");
  const seven = b.op("Gemm", [five, b.weight("v", [7, 5])], "seven", { transB: 1 });
  b.output(b.op("MatMul", [b.op("Transpose", [seven], "s", { perm: [1, 0] }), seven], "y"));
  expect(responseMemory(builtModel(b))).toBe(2 * 8 * (4 ** 2 + 5 ** 2 + 7 ** 2));
});

test("the text says the peak at once if the machine lacks the memory", () => {
  const estimate = { activations: 3e8, state: 1e8, frozen: 0, mapped: 0, data: 0, added: 7e8 };
  expect(memoryText(estimate, 2e8)).toMatch(
    /^memory: about 1\.2 GB at the peak \(200 MB before the run, 100 MB/,
  );
  expect(memoryText({ ...estimate, frozen: 5e8, mapped: 5e8 }, 2e8, 1e8)).toMatch(
    /^memory: about 1\.8 GB .* 500 MB mapped from the model's file, twice for the report, 100 MB for the report's angles\)$/,
  );
  const said: string[] = [];
  const tell = tellMemory(
    (text) => said.push(`later ${text}`),
    (text) => said.push(`now ${text}`),
  );
  tell(estimate);
  tell({ ...estimate, added: 1e15 });
  // The copies for checkpoints, report and trained model count too.
  tell({ ...estimate, state: 1e15 });
  expect(said).toEqual([
    expect.stringMatching(/^later memory: about/),
    expect.stringMatching(/^now .* are free: a smaller --batch/),
    expect.stringMatching(/^now .* are free: a smaller --batch/),
  ]);
});

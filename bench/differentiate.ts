/**
 * Times writing the gradient of a large graph, and separately the time that ONNX Runtime takes for shape inference and
 * constant folding. The aim is one second for 4,600 nodes. Widths are small, since the time depends on the number of nodes.
 *
 * Run: npx tsx bench/differentiate.ts [--nodes 4600] [--rounds 5] [--output bench/results/differentiate.json]
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { scriptArguments } from "../scripts/arguments.ts";
import type { Probe } from "../src/analysis/probe.ts";
import { Emit } from "../src/graph/emit.ts";
import type { Typed } from "../src/graph/emit-base.ts";
import { Graph } from "../src/graph/graph.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { meanSquaredError } from "../src/losses/elementwise.ts";
import { Model } from "../src/onnx/model.ts";
import { Tensor } from "../src/onnx/tensor.ts";
import { differentiate } from "../src/programs/differentiate.ts";
import { nodeProbe } from "../src/runtime/probe-node.ts";
import { machineDescription } from "./machine.ts";
import { median } from "./statistics.ts";

const width = 16;

/** A chain of a transformer's feed-forward blocks, each with 20 nodes and five parameters. */
function tallModel(nodes: number): Model {
  const graph = new Graph("tall", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "layer/" });
  const weight = (name: string, dims: readonly number[]) => {
    const size = dims.reduce((a, b) => a * b, 1);
    const numbers = Float32Array.from({ length: size }, (_, i) => (((i * 2654435761) % 1000) - 500) / 4000);
    return graph.addInitializer(Tensor.float(name, dims, numbers)) as Typed;
  };
  let x: Typed = graph.addInput("x", "float", [4, width]) as Typed;
  for (let block = 0; graph.nodes.length < nodes; block++) {
    const layer = (name: string, dims: readonly number[]) => weight(`block${block}.${name}`, dims);
    const centred = g.sub(x, g.reduceMean(x, [1], true));
    const deviation = g.sqrt(g.add(g.reduceMean(g.square(centred), [1], true), 1e-5));
    const normal = g.mul(g.div(centred, deviation), layer("norm.weight", [width]));
    const inner = g.add(g.matMul(normal, layer("up.weight", [width, width])), layer("up.bias", [width]));
    const gelu = g.mul(g.mul(inner, 0.5), g.add(g.erf(g.div(inner, Math.SQRT2)), 1));
    const bent = g.unaryWith("LeakyRelu", gelu, { alpha: 0.1 });
    const joined = g.concat(
      [g.slice(bent, [{ axis: 1, start: 0, length: 8 }]), g.slice(bent, [{ axis: 1, start: 8, length: 8 }])],
      1,
    );
    const outer = g.matMul(joined, layer("down.weight", [width, width]));
    x = g.add(x, g.op("Dropout", [g.add(outer, layer("down.bias", [width]))], x.shape, { attributes: {} }));
  }
  graph.addOutput(x);
  return Model.fromProto(graphToProto(graph, { irVersion: 9 }));
}

const { values: flags } = scriptArguments(import.meta.url, {
  options: {
    nodes: { type: "string", default: "4600" },
    rounds: { type: "string", default: "5" },
    output: { type: "string" },
  },
});

const model = tallModel(Number(flags.nodes));
const seconds = { total: [] as number[], runtime: [] as number[], own: [] as number[] };
let gradientNodes = 0;
for (let round = 0; round < Number(flags.rounds); round++) {
  let inside = 0;
  const timed =
    <A extends readonly unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      const start = performance.now();
      try {
        return await call(...args);
      } finally {
        inside += (performance.now() - start) / 1000;
      }
    };
  const probe: Probe = { ...nodeProbe, outputs: timed(nodeProbe.outputs), run: timed(nodeProbe.run) };
  const start = performance.now();
  const gradient = await differentiate(model, { objective: meanSquaredError() }, probe);
  const total = (performance.now() - start) / 1000;
  seconds.total.push(total);
  seconds.runtime.push(inside);
  seconds.own.push(total - inside);
  gradientNodes = gradient.model.proto.graph?.node?.length ?? 0;
}

const report = {
  machine: machineDescription(),
  nodes: model.proto.graph?.node?.length,
  gradientNodes,
  medianSeconds: {
    total: median(seconds.total),
    insideOnnxRuntime: median(seconds.runtime),
    own: median(seconds.own),
  },
};
console.log(JSON.stringify(report, null, 2));
if (flags.output) {
  await mkdir(dirname(flags.output), { recursive: true });
  await writeFile(flags.output, `${JSON.stringify(report, null, 2)}\n`);
}

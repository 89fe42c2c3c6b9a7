import { describe, expect, test } from "vitest";
import type { Sample } from "../../../src/autodiff/rule.ts";
import { rules } from "../../../src/autodiff/table.ts";
import { Emit } from "../../../src/graph/emit.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { writtenOut } from "../../../src/passes/backends/missing/table.ts";
import { offWebGpu, onCpu } from "../../../src/passes/backends/off-device.ts";
import { loweringFor } from "../../../src/passes/backends/table.ts";
import { writeOutMissing } from "../../../src/passes/backends/write-out-missing.ts";
import { runPass } from "../../../src/passes/pass.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { buildNode, bytesOf, random, titleOf } from "../../autodiff/rule-case.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { inferred } from "../../helpers/inferred.ts";
import { maxAbs, maxDifference, randomFloats } from "../../helpers/numbers.ts";
import { runOpened } from "../../helpers/opened-models.ts";

const flags = (...constant: number[]) => ({ shape: [constant.length], constant, type: "bool" as const });
const numbers = (...constant: number[]) => ({ shape: [constant.length], constant, type: "float" as const });

const whole = (...constant: number[]) => ({ shape: [constant.length], constant, type: "int32" as const });

/** Samples of operators that have none in the table of derivatives. */
const without: Readonly<Record<string, readonly Sample[]>> = {
  Sign: [{ inputs: [numbers(-2, 0, 0.5)] }, { inputs: [whole(-2, 0, 3)] }],
  Round: [
    { inputs: [numbers(0.5, 1.5, 2.5, -0.5, -1.5, -2.4, 2.6, 0, 8388609, -16777216, 4194303.5, 1e30)] },
  ],
  IsNaN: [{ inputs: [numbers(-2, Number.NaN, 0, -0, Infinity, -Infinity, 1e-45)] }],
  Not: [{ inputs: [flags(0, 1)] }],
  Or: [{ inputs: [flags(0, 0, 1, 1), flags(0, 1, 0, 1)] }],
  Xor: [{ inputs: [flags(0, 0, 1, 1), flags(0, 1, 0, 1)] }],
};

const samplesOf = (op: string): readonly Sample[] => {
  const rule = rules[op];
  return without[op] ?? (rule && "vjp" in rule ? rule.samples : []);
};

const otherRecurrence = /^RNN .*(lengths|clip=|activations=(?!\["(Tanh|Sigmoid|Relu)"\]))/;

/** Forms that stay: what they need has no kernel either. */
const stays = [
  /^Attention .*qk_matmul_output_mode/,
  /^Pow (?!.*int64)/,
  /^Pad (?!.*axes)/,
  /transBatch/,
  otherRecurrence,
];

describe.each(Object.keys(writtenOut))("%s written out", (op) => {
  test.each(samplesOf(op).map((sample) => [titleOf(op, sample), sample] as const))(
    "%s",
    async (title, sample) => {
      const { graph, feeds } = buildNode({ op, sample, type: "float" }, random(5));
      const expected = await runOpened(bytesOf(graph), feeds);
      for (const output of graph.outputs) {
        const tensor = expected.get(output.name);
        Object.assign(output, { type: tensor?.type, shape: tensor?.dims });
      }
      const emit = new Emit(graph, { prefix: "out/" });
      const missing = { [op]: onCpu };
      await runPass(writeOutMissing({ missing }), graph, { emit, probe: nodeProbe });
      const there = graph.nodes.some((node) => node.name === "node");
      expect(there, title).toBe(stays.some((pattern) => pattern.test(title)));
      if (there) return;
      const found = await nodeProbe.run(bytesOf(graph), feeds);
      for (const [name, tensor] of expected) {
        const [wanted, actual] = [tensor.numbers(), found.get(name)?.numbers() ?? []];
        expect([found.get(name)?.type, found.get(name)?.dims]).toEqual([tensor.type, tensor.dims]);
        expect(maxDifference(actual, wanted)).toBeLessThanOrEqual(3e-6 * Math.max(1, maxAbs(wanted)));
      }
      const off = graph.nodes.map((node) => node.op).filter((name) => offWebGpu[name] === onCpu);
      expect(off).toEqual([]);
    },
  );
});

test("an export in opset 23 with what WebGPU lacks there runs on it in opset 21", async () => {
  const b = new GraphBuilder(23);
  const x = b.input("x", [2, 4]);
  const scaled = b.op("RMSNormalization", [x, b.weight("w", [4])], "scaled");
  const graph = await inferred(b.output(b.op("HardSigmoid", [b.op("Celu", [scaled], "h")], "y")));
  const feeds = new Map([["x", Tensor.float("x", [2, 4], randomFloats("x", 8))]]);
  const before = await nodeProbe.run(bytesOf(graph), feeds);
  const { passes } = await loweringFor("webgpu", nodeProbe);
  for (const pass of passes) {
    await runPass(pass, graph, { emit: new Emit(graph, { prefix: "gpu/" }), probe: nodeProbe });
  }
  expect(graph.opset).toBe(21);
  expect(graph.nodes.map(({ op }) => op)).not.toContain("Celu");
  const after = await nodeProbe.run(bytesOf(graph), feeds);
  expect(maxDifference(after.get("y")?.numbers() ?? [], before.get("y")?.numbers() ?? [])).toBeLessThan(1e-6);
});

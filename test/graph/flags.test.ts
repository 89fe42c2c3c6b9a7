import { expect, test } from "vitest";
import type { Sample } from "../../src/autodiff/rule.ts";
import { rules } from "../../src/autodiff/table.ts";
import { int } from "../../src/graph/attribute.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { buildNode, bytesOf, gradientCase, numbersOf, random } from "../autodiff/rule-case.ts";

/** Operator and boolean attribute; whether ONNX Runtime takes 2 for true is asked of it, not written here. */
const flags: readonly (readonly [string, string])[] = [
  ["Gemm", "transA"],
  ["Gemm", "transB"],
  ["com.microsoft.FusedGemm", "transA"],
  ["com.microsoft.FusedMatMul", "transB"],
  ["com.microsoft.FusedMatMul", "transBatchA"],
  ["DFT", "inverse"],
  ["STFT", "onesided"],
  ["GridSample", "align_corners"],
  ["AffineGrid", "align_corners"],
  ["LSTM", "input_forget"],
  ["GRU", "linear_before_reset"],
  ["RotaryEmbedding", "interleaved"],
  ["ReduceSum", "noop_with_empty_axes"],
  ["AveragePool", "count_include_pad"],
  ["Attention", "is_causal"],
  ["com.microsoft.Attention", "unidirectional"],
  ["Resize", "exclude_outside"],
  ["Resize", "antialias"],
  ["Trilu", "upper"],
];

/** What a node and its gradient give, as text; undefined where ONNX Runtime does not run the node. */
async function answersOf(op: string, sample: Sample, name: string, value: number) {
  const changed = { ...sample, attributes: { ...sample.attributes, [name]: int(value) } };
  const testCase = { op, sample: changed, type: "float" } as const;
  const { graph, feeds } = buildNode(testCase, random(3));
  const outputs = await nodeProbe.run(bytesOf(graph), feeds).catch(() => undefined);
  if (!outputs) return undefined;
  const made = await gradientCase(testCase, random(3));
  const gradients = await nodeProbe.run(bytesOf(made.graph), made.feeds);
  const text = (results: typeof outputs) =>
    [...results.values()].map((tensor) => `${tensor.dims}: ${Array.from(numbersOf(tensor))}`).join("; ");
  return { node: text(outputs), gradient: text(gradients) };
}

test.each(flags)("%s: the gradient reads %s = 2 as ONNX Runtime does", async (op, name) => {
  const entry = rules[op];
  const samples = entry && "vjp" in entry ? entry.samples : [];
  let compared = 0;
  for (const sample of samples) {
    if (compared === 1) break;
    const two = await answersOf(op, sample, name, 2);
    if (!two) continue;
    const [off, on] = [await answersOf(op, sample, name, 0), await answersOf(op, sample, name, 1)];
    if (off?.node === on?.node) continue;
    const same = [off, on].find((answers) => answers?.node === two.node);
    expect(same, "2 is read as 0 or as 1").toBeDefined();
    expect(two.gradient).toBe(same?.gradient);
    compared += 1;
  }
  expect(compared, "samples on which 0 and 1 differ").toBeGreaterThan(0);
});

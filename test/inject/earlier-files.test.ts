import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { strip } from "../../src/block/strip.ts";
import { adamw, buildStep, crossEntropy, readModel } from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { verify } from "../../src/verify/verify.ts";

const fixture = (name: string) => readModel(fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url)));

it("a file whose block was written by an earlier version is checked, stripped and trained", async () => {
  const [original, injected] = await Promise.all([
    fixture("exports/cnn.script-kept.onnx"),
    fixture("injected/cnn.onnx"),
  ]);
  const { checks } = await verify(original, injected, {}, nodeProbe);
  expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
  expect(checks.filter(({ name }) => name.includes("gradient")).length).toBeGreaterThan(0);
  expect(equalBytes(strip(injected).bytes, original.bytes)).toBe(true);
  const step = await buildStep(injected, { objective: crossEntropy(), optimizer: adamw() });
  expect(step.ports.penalties.map(({ name }) => name)).toEqual(["som", "decov", "barlow"]);
});

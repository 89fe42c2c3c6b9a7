import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { backendsTable } from "../../../scripts/backends-table.ts";
import { loopsOn, loweringFor } from "../../../src/passes/backends/table.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";

test("docs/backends.md is what the table says (npm run docs:backends)", () => {
  expect(readFileSync("docs/backends.md", "utf8")).toBe(backendsTable());
});

test("a backend without forms gets the portable graph; Loop runs everywhere but on WebGPU", async () => {
  expect(await loweringFor("wasm", nodeProbe)).toBeUndefined();
  expect(await loweringFor("webgpu", nodeProbe)).toBeDefined();
  expect((["cpu", "cuda", "wasm", "webgpu"] as const).filter(loopsOn)).toEqual(["cpu", "cuda", "wasm"]);
});

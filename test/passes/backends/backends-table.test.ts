import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { backendsTable } from "../../../scripts/backends-table.ts";
import { backendTitles, nodeBackends } from "../../../src/passes/backends/names.ts";
import { loopsOn, loweringFor } from "../../../src/passes/backends/table.ts";
import { nodeRuntime } from "../../../src/runtime/node.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";

test("docs/backends.md is what the table says (npm run docs:backends)", () => {
  expect(readFileSync("docs/backends.md", "utf8")).toBe(backendsTable());
});

test("a backend without forms gets the portable graph; Loop runs everywhere but on WebGPU", async () => {
  expect(await loweringFor("cuda", nodeProbe)).toBeUndefined();
  expect(await loweringFor("webgpu", nodeProbe)).toEqual({
    passes: [{}, {}, {}].map(() => expect.anything()),
  });
  expect(await loweringFor("wasm", nodeProbe)).toEqual({ layout: expect.any(Function), passes: [] });
  const names = Object.keys(backendTitles) as (keyof typeof backendTitles)[];
  expect(names.filter(loopsOn)).toEqual(["cpu", "cuda", "wasm"]);
});

test("the Trainer has the backends of the list, in its order", () => {
  expect(nodeRuntime.backends.map(({ name }) => name)).toEqual(nodeBackends);
});

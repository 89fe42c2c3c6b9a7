import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { backendsTable } from "../../../scripts/backends-table.ts";
import { type BackendName, backendTitles, nodeBackends } from "../../../src/passes/backends/names.ts";
import { loopsOn, loweringFor } from "../../../src/passes/backends/table.ts";
import { nodeRuntime } from "../../../src/runtime/node.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";

test("docs/backends.md is what the table says (npm run docs:backends)", () => {
  expect(readFileSync("docs/backends.md", "utf8")).toBe(backendsTable());
});

test("each backend gets its own forms; Loop runs everywhere but on WebGPU", async () => {
  const passesOf = async (backend: BackendName) =>
    (await loweringFor(backend, nodeProbe)).passes.map(({ name }) => name);
  expect(await passesOf("wasm")).toEqual(["read-transposed", "join-splits", "open-quickly"]);
  expect(await passesOf("cuda")).toEqual([
    ...["write-out-missing", "lower-opset", "join-splits", "open-quickly"],
  ]);
  expect(await passesOf("webgpu")).toContain("fill-channels");
  const names = Object.keys(backendTitles) as (keyof typeof backendTitles)[];
  expect(names.filter(loopsOn)).toEqual(["cpu", "cuda", "wasm"]);
});

test("the Trainer has the backends of the list, in its order", () => {
  expect(nodeRuntime.backends.map(({ name }) => name)).toEqual(nodeBackends);
});

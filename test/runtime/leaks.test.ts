import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { sizes, workOf } from "../../scripts/soak/work.ts";
import * as library from "../../src/index.ts";
import { leakModel } from "../helpers/leak-model.ts";
import { useGpu } from "../helpers/software-gpu.ts";

const missing = useGpu();

/**
 * Memory of the process after 100 and after 400 steps, in MiB. The software GPU's memory is the process's own. State that is
 * not let go would take 120 more.
 */
async function memoryOver(backend: string): Promise<readonly number[]> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", "tsx", "test/runtime/leak-run.ts", backend],
    { env: process.env },
  );
  return JSON.parse(stdout) as number[];
}

it("the work of npm run soak fits its network", async () => {
  const inMemory = { ...library, readModel: async (bytes: Uint8Array) => library.decodeModel(bytes) };
  const work = workOf(inMemory, { ...sizes, backend: "cpu", leak: 0, file: [...leakModel().bytes] });
  expect(await work.steps(2)).toBe(2);
  await work.end();
});

describe("memory stays flat over 300 steps", () => {
  for (const backend of ["cpu", "webgpu"]) {
    it(backend, async (context) => {
      context.skip(backend === "webgpu" && missing !== "", missing);
      const [before = 0, after = Number.POSITIVE_INFINITY] = await memoryOver(backend);
      expect(before).toBeGreaterThan(0);
      expect(after - before).toBeLessThan(60);
    }, 600_000);
  }
});

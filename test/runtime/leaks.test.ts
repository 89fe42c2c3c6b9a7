import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
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

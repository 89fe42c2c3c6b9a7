import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { baseSize, writeBases } from "../helpers/frozen-base.ts";

test.skipIf(process.platform !== "linux")(
  "a run holds no copy of its frozen base, neither of an external file nor of the model's own",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "sorth-base-"));
    try {
      await writeBases(folder);
      const { stdout } = await promisify(execFile)(process.execPath, [
        ...["--import", "tsx", "test/runtime/frozen-base-run.ts", folder],
      ]);
      const [external, whole] = JSON.parse(stdout) as { grown: number; losses: number[] }[];
      // One copy, by this process or by ONNX Runtime, would be all of it.
      expect(external?.grown).toBeLessThan(baseSize / 2);
      expect(whole?.grown).toBeLessThan(baseSize / 2);
      expect(external?.losses).toHaveLength(2);
      expect(whole?.losses).toEqual(external?.losses);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
  60_000,
);

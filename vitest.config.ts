import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import LongestFirst from "./scripts/longest-first.ts";

/** What a file does that has a process to itself: it replaces modules, opens ONNX Runtime's GPU device in it, or measures its memory. */
const own = /\bvi\.(mock|doMock)\(|\buseGpu\(|\bprocess\.memoryUsage\(/;

/** Those files, and those of the package, which leave much in memory and load little of the source. */
const alone = readdirSync("test", { recursive: true, encoding: "utf8" })
  .map((name) => `test/${name.replaceAll("\\", "/")}`)
  .filter((path) => path.endsWith(".test.ts"))
  .filter((path) => path.startsWith("test/package/") || own.test(readFileSync(path, "utf8")));

export default defineConfig(({ mode }) => ({
  test: {
    setupFiles: ["test/setup.ts"],
    // Tests on a software GPU take their time where something else runs beside them.
    testTimeout: 180_000,
    hookTimeout: 120_000,
    // onnxruntime-node keeps native threads: processes end cleanly, worker threads do not always.
    pool: "forks",
    // Vitest keeps one core for itself, which on a machine of two leaves one: the suite would take twice as long.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Projects do not take the mode from the command line by themselves (npm run test:long).
    projects: [
      { extends: true, mode, test: { name: "alone", include: alone } },
      // One process runs many of these files: to load the source and ONNX Runtime costs a second of work each time.
      {
        extends: true,
        mode,
        test: { name: "shared", include: ["test/**/*.test.ts"], exclude: alone, isolate: false },
      },
    ],
    sequence: { sequencer: LongestFirst },
    reporters: ["default", "./scripts/test-summary.ts"],
  },
}));

import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import LongestFirst from "./scripts/longest-first.ts";

/**
 * Files that have a process to themselves: they replace modules of Node, open ONNX Runtime's GPU device in their process, measure
 * its memory, or leave much in it.
 */
const alone = [
  "test/onnx/replaced-models.test.ts",
  "test/passes/backends/webgpu-rules.test.ts",
  "test/runtime/{webgpu*,leaks,mixed-precision,runtime-faults,uncopied-outputs}.test.ts",
  "test/package/*.test.ts",
];

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

import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import LongestFirst from "./scripts/longest-first.ts";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/setup.ts"],
    // Tests on a software GPU take their time where something else runs beside them.
    testTimeout: 180_000,
    hookTimeout: 120_000,
    // onnxruntime-node keeps native threads: processes end cleanly, worker threads do not always.
    pool: "forks",
    // Vitest keeps one core for itself, which on a machine of two leaves one: the suite would take twice as long.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    sequence: { sequencer: LongestFirst },
    reporters: ["default", "./scripts/test-summary.ts"],
  },
});

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/without-colours.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // onnxruntime-node keeps native threads: processes end cleanly, worker threads do not always.
    pool: "forks",
    reporters: ["default", "./scripts/test-summary.ts"],
  },
});

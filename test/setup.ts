import { createRequire } from "node:module";
import { afterAll } from "vitest";
import { checkGraph } from "../src/graph/check.ts";
import { observePasses } from "../src/passes/pass.ts";

// What tests read has no colours, whatever the surroundings (CI, FORCE_COLOR) ask for: neither here nor in child processes.
delete process.env.FORCE_COLOR;
process.env.NO_COLOR = "1";

// ONNX Runtime's own remarks on kernels come at every session, whatever its options say, and nobody can act on them here.
createRequire(import.meta.url)("onnxruntime-node").env.logLevel = "fatal";

// Every graph is sound after every pass, in every test. Files that share a process each run this anew.
const end = observePasses((graph, { name }) => {
  try {
    checkGraph(graph);
  } catch (error) {
    throw new Error(`after the pass ${name}`, { cause: error });
  }
});
afterAll(end);

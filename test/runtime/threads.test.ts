import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { stillThere } from "./still-there.ts";

test("several threads train at once as one does, and a stopped run lets its thread end", () => {
  const words = ["--import", "tsx", "test/runtime/threads-run.ts"];
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const { threads, alone, stopped } = JSON.parse(stdout);
  expect(alone.map((losses: unknown[]) => losses.length)).toEqual([2, 2]);
  expect(threads.map(([losses]: [unknown]) => losses)).toEqual(alone);
  expect(new Set(alone.flat()).size).toBe(4);
  expect(stopped[0]).toEqual(["aborted"]);
}, 60_000);

test("a thread that is terminated in the middle of a run of ONNX Runtime ends the process", () => {
  const script = `
    const { Worker, isMainThread, parentPort } = require("node:worker_threads");
    if (isMainThread) {
      const thread = new Worker(process.argv[1]);
      thread.on("message", () => setTimeout(() => thread.terminate(), 300));
    } else {
      const ort = require("onnxruntime-node");
      const x = new ort.Tensor("float32", new Float32Array(2000 * 784), [2000, 1, 28, 28]);
      ort.InferenceSession.create("models/cnn.onnx").then(async (session) => {
        parentPort.postMessage("running");
        for (;;) await session.run({ x });
      });
    }`;
  const main = script.replace("process.argv[1]", `${JSON.stringify(script)}, { eval: true }`);
  const { signal, status } = spawnSync(process.execPath, ["-e", main]);
  stillThere(signal !== null || (status ?? 0) > 128, "the advice of docs/training.md on threads");
}, 60_000);

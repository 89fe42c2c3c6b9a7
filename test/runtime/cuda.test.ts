import { describe, expect, it } from "vitest";
import { crossEntropy, readModel, Trainer } from "../../src/index.ts";

/** The Loop form itself runs on the CPU in steps-per-run.test.ts; `npm run gpu-check` runs it on CUDA. */
describe("CUDA", () => {
  it("says how to install its libraries where they are not", async (context) => {
    const create = readModel("models/mlp.onnx").then((model) =>
      Trainer.create(model, { objective: crossEntropy(), batch: 8, backend: "cuda" }),
    );
    const outcome = await create.then(
      async (trainer) => {
        await trainer.release();
        return "it opens";
      },
      (error: Error) => error.message,
    );
    if (outcome === "it opens") context.skip("CUDA is installed here");
    expect(outcome).toMatch(
      /install\.js --onnxruntime-node-install=cuda12|they need CUDA 12 and cuDNN 9|on Linux x64 only/,
    );
    expect(outcome).not.toContain("\n");
  });
});

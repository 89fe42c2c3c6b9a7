import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  adamw,
  buildStep,
  crossEntropy,
  decodeModel,
  decov,
  inject,
  type PenaltyPlan,
  so,
  som,
} from "../../src/index.ts";

const model = decodeModel(new Uint8Array(readFileSync("models/mlp.onnx")));

async function remarks(penalties: readonly PenaltyPlan[], of = model): Promise<string[]> {
  const messages: string[] = [];
  await buildStep(of, {
    ...{ objective: crossEntropy(), optimizer: adamw(), batch: 128, penalties },
    onMessage: (message) => messages.push(message),
  });
  return messages.filter((message) => message.includes("the model's output"));
}

describe("a penalty on responses of the layer that the loss reads", () => {
  const remark =
    "logits: som acts on the model's output too, against the loss; consider excluding this layer (docs/regularizers.md of sorth-onnx)";

  it("is remarked on, injected or chosen", async () => {
    const penalty = som({ lambda1: 100 });
    expect(await remarks([{ penalty }])).toEqual([remark]);
    const injected = await inject(model, { penalties: [penalty] });
    expect(await remarks([], injected)).toEqual([remark]);
    expect(await remarks([{ penalty: decov() }])).toEqual([remark.replace("som", "decov")]);
  });

  it("is nothing to remark on where it does no harm there: som by its defaults", async () => {
    expect(await remarks([{ penalty: som() }])).toEqual([]);
  });

  it("is nothing to remark on where it acts on other layers, or on weights", async () => {
    expect(await remarks([{ penalty: som({ lambda1: 100 }), exclude: /^logits$/ }])).toEqual([]);
    expect(await remarks([{ penalty: so() }])).toEqual([]);
    expect(await remarks([{ penalty: som({ lambda1: 100, angles: "weights" }) }])).toEqual([]);
  });
});

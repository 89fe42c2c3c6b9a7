import { describe, expect, it } from "vitest";
import { strip } from "../../src/block/strip.ts";
import { inject } from "../../src/inject/inject.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { runModel } from "../helpers/run-model.ts";
import { network, samples } from "./models.ts";

const texts = [
  ...["som", "som:reduction=sum", "som:rows=random", "som:angles=weights", "som:center=true,scale=rms"],
  ...["so", "spectral-so", "dso", "biggan", "mc", "srip", "keras", "mhe", "mma", "decov", "barlow", "vicreg"],
];

describe("penalties in models of opsets 7 to 10 have the value that they have in opset 17", () => {
  for (const text of texts) {
    it(text, async () => {
      const x = samples(9);
      const valueAt = async (opset: number) => {
        const model = network({ opset });
        const injected = await inject(model, { penalties: [parsePlan(text)] }, nodeProbe);
        expect(equalBytes(strip(injected).bytes, model.bytes)).toBe(true);
        return (await runModel(injected.bytes, { x })).sorth_penalty?.numbers()[0] ?? Number.NaN;
      };
      const expected = await valueAt(17);
      for (const opset of [7, 8, 9, 10]) {
        expect(Math.abs((await valueAt(opset)) / expected - 1), `opset ${opset}`).toBeLessThan(1e-5);
      }
    });
  }
});

import type { Probe } from "../analysis/probe.ts";
import { dataFolder, inMappedForm } from "./data-folder-node.ts";
import { unpackedWeights } from "./large-base.ts";
import { ortNode } from "./ort-node.ts";
import { ortProbe } from "./ort-probe.ts";

/** The {@link Probe} of the node entry: onnxruntime-node on the CPU. */
export const nodeProbe: Probe = ortProbe(
  async (model, options) => (await ortNode()).InferenceSession.create(model, options),
  "cpu",
  (given) => {
    const model = inMappedForm(given);
    return { model, entries: { ...dataFolder(model), ...unpackedWeights(model) } };
  },
);

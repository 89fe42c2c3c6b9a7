import { InferenceSession } from "onnxruntime-node";
import type { Probe } from "../analysis/probe.ts";
import { ortProbe } from "./ort-probe.ts";

/** The {@link Probe} of the node entry: onnxruntime-node on the CPU. */
export const nodeProbe: Probe = ortProbe((model, options) => InferenceSession.create(model, options), "cpu");

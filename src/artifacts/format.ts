/** Names that ONNX Runtime's training API fixes, and the versions that its last release (1.19.2) loads. */

/** Input that tells a run to begin the sums of gradients anew. */
export const resetInput = "lazy_reset_grad";
/** Input `<parameter>` + this: where its gradients are summed. */
export const bufferSuffix = "_grad.accumulation.buffer";
/** Output `<parameter>` + this: says that the sum was done. No output for the user. */
export const doneSuffix = "_grad.accumulation.out";
/** Operator sets and the newest file version that a training session loads. */
export const loadable = { opset: { least: 13, most: 21 }, irVersion: 10 } as const;

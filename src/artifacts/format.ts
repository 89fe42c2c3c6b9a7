/** Names that ONNX Runtime's training API requires, and the versions that its last release (1.19.2) loads. */

/** Input that resets the sums of gradients before a run adds to them. */
export const resetInput = "lazy_reset_grad";
/** Suffix of the input `<parameter>_grad.accumulation.buffer`, in which a parameter's gradients are summed. */
export const bufferSuffix = "_grad.accumulation.buffer";
/** Suffix of the output `<parameter>_grad.accumulation.out`, which signals that the sum was done; for the runtime only. */
export const doneSuffix = "_grad.accumulation.out";
/** Operator sets and the newest file version that a training session loads. */
export const loadable = { opset: { least: 13, most: 21 }, irVersion: 10 } as const;

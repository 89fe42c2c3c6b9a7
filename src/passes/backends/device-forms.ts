import { deviationApart } from "./deviation-apart.ts";
import { fillChannels } from "./fill-channels.ts";
import { fillGroups } from "./fill-groups.ts";
import type { Form } from "./form.ts";
import { integerKernels } from "./integer-kernels.ts";
import { lowerOpset } from "./lower-opset.ts";
import { narrowIntegers } from "./narrow-integers.ts";
import { powersAlike } from "./powers-alike.ts";
import { refuseMiscomputed } from "./refuse-miscomputed.ts";
import { sliceThenTurn } from "./slice-then-turn.ts";
import { writeOutMissingOn } from "./write-out-missing.ts";

/** The forms for the kernels of a GPU, in the order of application. They come before the others (table.ts). */
export const deviceForms: readonly Form[] = [
  {
    name: "refusal of wrong results",
    backends: ["webgpu"],
    change:
      "Einsum that broadcasts, Pad by wrapping and cropping, some Resize, reductions without axes, LSTM with clip and peepholes → an error",
    why: "WebGPU computes them wrongly without saying so, or ends the process",
    pass: async () => refuseMiscomputed(),
  },
  {
    name: "whole numbers of 32 bits",
    backends: ["webgpu"],
    change: "operators on int64 → the same on int32, where results fit; inputs become int32",
    why: "WebGPU has no kernels for int64 but for reading at indices; what is fed is held to ±2^20, or less where products need it",
    pass: async () => narrowIntegers(),
  },
  {
    name: "missing operators",
    backends: ["cuda", "webgpu"],
    change: "an operator without a kernel on the device → others that have one, where such a form is known",
    why: "a graph that leaves its device copies at every step, and is refused",
    pass: async (_, backend) => writeOutMissingOn(backend),
  },
  {
    name: "kernels for whole numbers",
    backends: ["webgpu"],
    change:
      "Transpose, Concat, Equal … of booleans and bytes → the same on floats; Slice, Neg, Abs, Mod and GatherElements of int32 → Gather, Mul, Max and the like",
    why: "WebGPU has kernels for other types alone",
    pass: async () => integerKernels(),
  },
  {
    name: "older opset",
    backends: ["cuda", "webgpu"],
    change: "opset 22 and above → 21, where no operator needs the newer one",
    why: "WebGPU has no kernels for what changed since, such as MaxPool, HardSigmoid and GlobalAveragePool of opset 22",
    pass: async () => lowerOpset(),
  },
  {
    name: "channels in fours",
    backends: ["webgpu"],
    change: "Conv of 6, 9, 18 … channels with outputs in fours → the same with channels of zeros added",
    why: "the error of WebGPU's kernel is as large as the result (microsoft/onnxruntime issue 29651)",
    pass: async () => fillChannels(),
  },
  {
    name: "groups filled",
    backends: ["webgpu"],
    change:
      "Conv with an even number of groups of 5, 6, 7, 9 … outputs, ConvTranspose whose groups read 2, 4, 6 … channels and write one → the same with further outputs of zeros",
    why: "the error of WebGPU's kernels is as large as the result",
    pass: async () => fillGroups(),
  },
  {
    name: "slices in two steps",
    backends: ["webgpu"],
    change:
      "Slice that runs backwards from another element than the last one → a Slice forwards, then one that turns all of it",
    why: "WebGPU counts from the end of the axis",
    pass: async () => sliceThenTurn(),
  },
  {
    name: "powers of one shape",
    backends: ["webgpu"],
    change: "Pow that broadcasts its last axis → the same on operands of one shape",
    why: "WebGPU's kernel ends in an error where the other last axis has 4, 8 … numbers",
    pass: async () => powersAlike(),
  },
  {
    name: "deviation apart",
    backends: ["webgpu"],
    change: "second output of SimplifiedLayerNormalization → computed from its input",
    why: "WebGPU writes other numbers there",
    pass: async () => deviationApart(),
  },
];

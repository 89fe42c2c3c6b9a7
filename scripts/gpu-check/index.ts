/**
 * Checks training on a machine with a GPU and writes a report: compares CUDA and WebGPU in node with the CPU, and their speed
 * with PyTorch's. Run: npm run gpu-check -- [--output FILE] [--no-torch] [--backend cuda|webgpu] [--quick]
 *
 * CUDA needs onnxruntime-node's CUDA libraries, CUDA 12 and cuDNN 9; WebGPU needs a driver (Vulkan on Linux). The report names
 * what is missing. NVIDIA's tensor cores round float32 products to TF32 unless NVIDIA_TF32_OVERRIDE=0 is set, as this script
 * does for its comparisons.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { machineDescription } from "../../bench/machine.ts";
import { scriptArguments } from "../arguments.ts";
import { compareWithCpu } from "./losses.ts";
import { timeSteps } from "./speed.ts";

// Must be set before CUDA is loaded.
process.env.NVIDIA_TF32_OVERRIDE ??= "0";

const { values: flags } = scriptArguments(import.meta.url, {
  options: {
    output: { type: "string", default: "out/gpu-check.md" },
    backend: { type: "string", multiple: true, default: ["cuda", "webgpu"] },
    torch: { type: "boolean", default: true },
    // For a software GPU, to check that everything runs; its speed is meaningless.
    quick: { type: "boolean", default: false },
  },
  allowNegative: true,
});

const timing = flags.quick ? { rounds: 1, steps: 2 } : { rounds: 7, steps: 48 };
const sections = [];
let failed = 0;
for (const backend of flags.backend) {
  const losses = await compareWithCpu(backend);
  failed += losses.failed;
  sections.push(`## ${backend}`, losses.text);
  if (losses.available) sections.push(await timeSteps(backend, flags.torch, timing));
}
const report = [
  "# Training on a GPU",
  `${new Date().toISOString()}, ${machineDescription()}, node ${process.version}`,
  ...sections,
  "",
].join("\n\n");
mkdirSync(dirname(flags.output), { recursive: true });
writeFileSync(flags.output, report);
console.log(report);
console.error(`written: ${flags.output}`);
process.exitCode = failed > 0 ? 1 : 0;

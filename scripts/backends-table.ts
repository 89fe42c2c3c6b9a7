import { deviceForms } from "../src/passes/backends/device-forms.ts";
import { writtenOut } from "../src/passes/backends/missing/table.ts";
import type { BackendName } from "../src/passes/backends/names.ts";
import { offDevice, onCpu } from "../src/passes/backends/off-device.ts";
import { forms } from "../src/passes/backends/table.ts";

/** Facts about each backend that the table in the code lacks: where it runs, and where its state is kept. */
const backends: Readonly<Record<BackendName, readonly [where: string, state: string, checked: string]>> = {
  cpu: [
    "node, onnxruntime-node",
    "host, two buffers swapped through preallocated outputs",
    "the whole test suite",
  ],
  cuda: [
    "node on Linux x64, CUDA 12 and cuDNN 9",
    "host; copied to the device and back once a run of several steps",
    "its graphs on the CPU; on a GPU by `npm run gpu-check`",
  ],
  wasm: [
    "browsers, onnxruntime-web; threads where the page is cross-origin isolated",
    "host, copied once a run of several steps",
    "Chromium",
  ],
  webgpu: [
    "node, onnxruntime-node; browsers, onnxruntime-web",
    "device, from the first step on; read back after an epoch or when asked for",
    "node and Chromium, on a software GPU; on a GPU by `npm run gpu-check`",
  ],
};

/** What each backend does in float16 and in bfloat16. */
const halfPrecision: Readonly<Record<BackendName, readonly [float16: string, bfloat16: string]>> = {
  cpu: ["computed in float32, each result rounded; slower than float32", "as float16"],
  cuda: [
    "ONNX Runtime's kernels; not tried on a GPU yet",
    "ONNX Runtime's kernels for MatMul and Gemm, an error that names the nodes where it has none; not tried on a GPU yet",
  ],
  wasm: ["as cpu", "as cpu"],
  webgpu: [
    "on GPUs with shader-f16, refused on others; every node of 18 networks has a kernel (a test holds it for one), their numbers are not checked: the software GPU of the tests has no shader-f16",
    "refused",
  ],
};

/** The content of `docs/backends.md`: the lowering table in Markdown. */
export function backendsTable(): string {
  const byReason = (backend: BackendName) => {
    const reasons = new Map<string, string[]>();
    for (const [op, why] of Object.entries(offDevice[backend])) {
      const reason = writtenOut[op] ? why.replace(onCpu, "written out in other operators") : why;
      reasons.set(reason, [...(reasons.get(reason) ?? []), op]);
    }
    return [...reasons].map(([reason, ops]) => `- ${reason}: ${ops.sort().join(", ")}`);
  };
  return [
    "# Backends",
    "",
    "Generated from src/passes/backends/table.ts (`npm run docs:backends`); a test holds it against the code.",
    "",
    "| backend | runs in | state | checked on |",
    "|---|---|---|---|",
    ...Object.entries(backends).map(([name, cells]) => `| ${name} | ${cells.join(" | ")} |`),
    "",
    "A graph runs entirely on its device, or is refused with an error that names the nodes that the device cannot run. With",
    "`--allow-fallback` (`allowFallback: true`) these nodes run on the CPU, and a warning names them.",
    "",
    "## Which form of an operator a backend gets",
    "",
    "Gradients are written in operators that every backend runs on its device. These forms replace some of them:",
    "",
    "| form | on | change | why |",
    "|---|---|---|---|",
    ...[...deviceForms, ...forms].map(
      ({ name, backends, change, why }) => `| ${name} | ${backends.join(", ")} | ${change} | ${why} |`,
    ),
    "",
    "## Half precision",
    "",
    "`--precision mixed` (float16) and `mixed-bfloat16`. Weights, sums, losses and the optimizer are float32 everywhere.",
    "",
    "| backend | float16 | bfloat16 |",
    "|---|---|---|",
    ...Object.entries(halfPrecision).map(([name, cells]) => `| ${name} | ${cells.join(" | ")} |`),
    "",
    "## What does not run on a device",
    "",
    "Everything else runs everywhere: every rule's sample cases run on cpu, wasm, webgpu in node and webgpu in Chromium, and are",
    "compared (test/passes/backends). [ops.md](ops.md) has this by operator, gradients included.",
    "",
    ...(["webgpu", "cuda", "wasm"] as const).flatMap((backend) => [
      `### ${backend}`,
      "",
      ...byReason(backend),
      "",
    ]),
  ].join("\n");
}

import type { Probe } from "../../analysis/probe.ts";
import type { LayoutFacts } from "../layout/choose-layouts.ts";
import type { ValuesOnRows } from "../layout/rows-layout.ts";
import type { Pass } from "../pass.ts";
import type { Form } from "./form.ts";
import type { BackendName } from "./names.ts";

/** The Trainer applies this form itself, by `stepLoop`. */
const stepsInLoop: Form = {
  name: "steps in a Loop",
  backends: ["cpu", "cuda", "wasm"],
  change: "one step a run → several, as the body of a Loop (stepLoop)",
  why: "the state is copied in and out once a run: half the time for small networks on the CPU and in wasm. WebGPU runs Loop on the CPU",
};

/** The Trainer's programs apply this form themselves, before they differentiate. */
const rowsForm: Form = {
  name: "rows",
  backends: ["cpu", "wasm"],
  change:
    "Conv, BatchNormalization and what lies between them → products, sums and elementwise operators on [N·H·W, C], where that is faster",
  why: "1.2 to 5 times faster on small images and for kernels of 1×1: a convolution there reads its weights once for each image",
};

/** Steps in mixed precision apply this form, before the others. */
const halfForm: Form = {
  name: "half precision in float32",
  backends: ["cpu", "wasm"],
  change: "operators on float16 or bfloat16 → the same on float32, with a Cast before and behind each",
  why: "ONNX Runtime's CPU has few float16 kernels and no bfloat16 ones, and where it converts by itself it leaves roundings out. So results are those of a GPU that adds up in float32, and mixed precision is slower here than float32",
};

/** The optimizer applies this form (src/optimizers/pack.ts). */
const packedForm: Form = {
  name: "small parameters packed",
  backends: ["cpu", "cuda", "wasm"],
  change: "the optimizer's nodes for each bias and norm → one set of nodes for all that are treated alike",
  why: "every node costs some microseconds besides its work, and an optimizer has a dozen for each parameter. A node of WebGPU has few inputs and outputs",
};
/** Numbers of a parameter up to which packing is faster: measured on MobileNet-v2, DenseNet-121, EfficientNet-b0 and ViT-tiny. */
const mostPacked = 4096;

const blocksForm: Form = {
  name: "blocked convolutions",
  backends: ["cpu"],
  change: "Conv whose weight is computed or fed → the same in ONNX Runtime's own layout of channel blocks",
  why: "1.1 to 2 times faster, depthwise up to 20 times; ONNX Runtime does it for constant weights only",
  pass: async (probe) => {
    const block = await channelBlockOf(probe);
    return block ? (await import("./block-convolutions.ts")).blockConvolutions({ block }) : undefined;
  },
};

/** The rule of Conv writes gradients in this form; {@link blocksForm} brings them into blocks. */
const kernelGradientsForm: Form = {
  name: "kernels' gradients as convolutions",
  backends: ["cpu"],
  change:
    "products over shifted copies of an image → Conv with the samples as channels, in the layout of channel blocks",
  why: "1.1 to 2 times faster on two threads: no copy for each position of the kernel. From 12×12 to 64×64 points, fewer samples than a block",
};

const channelBlockOf = async (probe: Probe): Promise<number | undefined> =>
  (await import("./block-convolutions.ts")).channelBlock(probe);

/**
 * The forms of host and browser, in the order of application, after those for the kernels of a GPU (device-forms.ts). A page loads
 * the passes of its backend only. docs/backends.md is generated from both lists.
 */
export const forms: readonly Form[] = [
  kernelGradientsForm,
  blocksForm,
  {
    name: "weights as stored",
    backends: ["cpu", "wasm"],
    change: "MatMul with the transpose of a frozen matrix of 1 MiB or more → Gemm with the matrix and transB",
    why: "ONNX Runtime keeps the transpose of a constant as a second copy: the backward pass of a frozen base would double its memory",
    pass: async () => (await import("./read-transposed.ts")).readTransposed(),
  },
  {
    name: "splits joined",
    backends: ["cpu", "cuda", "wasm"],
    change: "Split whose parts are split again → one Split",
    why: "each round copies the tensor: a tenth of the time of an LSTM of 50 steps. WebGPU needs the rounds, since a node may use eight buffers",
    pass: async () => (await import("./join-splits.ts")).joinSplits(),
  },
  {
    name: "order for opening",
    backends: ["cpu", "cuda", "webgpu", "wasm"],
    change:
      "nodes in the order in which they were written → inputs' readers first, then each node as soon as it can run",
    why: "ONNX Runtime sorts the graph before each of its optimizers, in a time that grows with nodes × nodes that wait: half the time to open a step of 14,000 nodes",
    pass: async () => (await import("./open-quickly.ts")).openQuickly(),
  },
  rowsForm,
  halfForm,
  packedForm,
  stepsInLoop,
];

/** Whether a backend runs several steps of a run on its device. */
export const loopsOn = (backend: BackendName): boolean => stepsInLoop.backends.includes(backend);

/** How a program is brought into the forms of a backend. */
export interface Lowering {
  /**
   * Makes the pass that chooses layouts, for a graph that is not yet differentiated; absent where one layout serves for all.
   * @internal
   */
  readonly layout?: (facts: LayoutFacts) => Promise<Pass<ValuesOnRows>>;
  /** Parameters of at most this many numbers are packed for the optimizer; absent where none are. */
  readonly packed?: number;
  /** Channels of a block in which convolutions run, for the gradients of their kernels; absent where they run in none. */
  readonly channelBlock?: number;
  /** A pass over a graph that computes in half precision, before the others; absent where the backend has kernels for it. */
  readonly half?: () => Promise<Pass<unknown>>;
  /** Passes over the finished graph, in order. */
  readonly passes: readonly Pass<unknown>[];
}

/** The passes that bring a program into the forms of a backend. */
export async function loweringFor(backend: BackendName, probe: Probe): Promise<Lowering> {
  const channelBlock = kernelGradientsForm.backends.includes(backend)
    ? await channelBlockOf(probe)
    : undefined;
  return {
    ...(channelBlock && { channelBlock }),
    passes: await passesOf(await formsOf(backend), { backend, probe }),
    ...(rowsForm.backends.includes(backend) && { layout: layoutFor(backend, probe) }),
    ...(halfForm.backends.includes(backend) && { half: halfInFloat }),
    ...(packedForm.backends.includes(backend) && { packed: mostPacked }),
  };
}

/** The passes for a graph that a backend only runs: those for the kernels of its device. The graph has shapes. */
export const runForms = async (backend: BackendName, probe: Probe): Promise<Pass<unknown>[]> =>
  passesOf(await formsOf(backend, []), { backend, probe });

/** @param others - the forms after those for the kernels of a GPU */
async function formsOf(backend: BackendName, others = forms): Promise<Form[]> {
  const onDevice = backend === "webgpu" || backend === "cuda";
  const { deviceForms } = onDevice ? await import("./device-forms.ts") : { deviceForms: [] };
  return [...deviceForms, ...others].filter(({ backends }) => backends.includes(backend));
}

const passesOf = async (
  chosen: readonly Form[],
  { backend, probe }: { readonly backend: BackendName; readonly probe: Probe },
): Promise<Pass<unknown>[]> =>
  (await Promise.all(chosen.map(({ pass }) => pass?.(probe, backend)))).filter((pass) => pass !== undefined);

const halfInFloat = async (): Promise<Pass<unknown>> => (await import("./half-in-float.ts")).halfInFloat();

/** Makes the pass that chooses layouts, for a backend that has several. */
function layoutFor(backend: BackendName, probe: Probe): NonNullable<Lowering["layout"]> {
  return async (facts) => {
    const { rowsLayout } = await import("../layout/rows-layout.ts");
    const blocked = blocksForm.backends.includes(backend);
    const block = blocked ? await channelBlockOf(probe) : undefined;
    return rowsLayout({ ...facts, block: block ?? 0 });
  };
}

import { isFoldedByExporter } from "../analysis/exporter-names.ts";
import type { Graph } from "../graph/graph.ts";

/** The program that wrote a file, from its header. */
export interface Producer {
  /** `pytorch`, `tf2onnx`, … */
  readonly name: string;
  readonly version: string;
}

/**
 * Says whether a model was exported for inference – BatchNorm folded into convolutions, Dropout removed – and how the same
 * exporter keeps them. scripts/export-recipes.py tries the recipes; docs/exporting.md lists them.
 * @returns undefined if nothing seems to be missing, or if the model has too few layers to decide
 *
 * @example
 * exportAdvice(graph, { name: "pytorch", version: "2.15.0" });
 * // "BatchNorm was folded into the convolutions, which are trained without it; train --batch-norm recover puts BatchNorm back; …"
 */
export function exportAdvice(graph: Graph, producer: Producer): string | undefined {
  const has = (op: string) => graph.nodes.some((node) => node.op === op);
  if (has("BatchNormalization")) return undefined;
  const convolutions = graph.nodes.filter(({ op }) => op === "Conv");
  const recipe = recipeOf(graph, producer);
  if (graph.nodes.some(isFoldedByExporter)) {
    return `BatchNorm was folded into the convolutions, which are trained without it; ${remedy}; ${recipe}`;
  }
  // A convolution before BatchNorm usually has no bias; folding adds one.
  if (convolutions.length > 1 && convolutions.every(({ inputs }) => inputs[2])) {
    const dropout = has("Dropout") ? "" : ", no Dropout";
    return `no BatchNorm${dropout}, and every convolution has a bias: if the network has BatchNorm, it was folded at export; ${remedy}; ${recipe}`;
  }
  const layers = graph.nodes.filter(({ op }) => op === "Conv" || op === "Gemm" || op === "MatMul");
  if (layers.length < 2 || has("Dropout")) return undefined;
  return `no BatchNorm, no Dropout: if the network has them, it was exported for inference; ${remedy}; ${recipe}`;
}

/** What brings a folded BatchNorm back. */
const remedy = "train --batch-norm recover puts BatchNorm back";

/** Advice on how to keep BatchNorm and Dropout with the exporter that wrote the file. */
function recipeOf(graph: Graph, { name, version }: Producer): string {
  if (/^pytorch$/i.test(name)) return `to keep them: ${torchRecipe(graph, version)} (docs/exporting.md)`;
  if (/tf2onnx|keras/i.test(name)) {
    return "Keras's export and tf2onnx fold it always (docs/exporting.md)";
  }
  return "to keep them, export in training mode (docs/exporting.md)";
}

function torchRecipe(graph: Graph, version: string): string {
  const dynamo = graph.nodes.some(({ metadata }) => [...metadata.keys()].some((key) => /^pkg\./.test(key)));
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isSince = (other: number) => major > 2 || (major === 2 && minor >= other);
  // The default since 2.9.
  if (dynamo)
    return `model.train(), then torch.onnx.export(…, ${isSince(9) ? "" : "dynamo=True, "}optimize=False)`;
  // PyTorch 2.5 added the option; older versions have the TorchScript exporter only.
  const script = isSince(5) ? "dynamo=False, " : "";
  return `torch.onnx.export(…, ${script}training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False)`;
}

import { conversionOf } from "../../src/data/conversion.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import { optimizerNames } from "../../src/optimizers/table.ts";
import { buildStep } from "../../src/web.ts";
import type { ModelSummary, Settings, SomSettings } from "../protocol.ts";
import { headSummary } from "./head-of.ts";
import { takesImages } from "./open-data.ts";
import type { OpenedModel } from "./open-model.ts";
import { fixedBatch, lossesOf, runOptions } from "./run-options.ts";

/** Default settings of a run; the page's controls begin with them. */
export const standardSettings: Omit<Settings, "loss"> = {
  som: { lambda1: 0, lambda2: 1, gamma: 10, reduction: "mean" },
  weight: 0.1,
  onOutputs: true,
  epochs: 5,
  batch: 64,
  learningRate: 1e-3,
  optimizer: optimizerNames[0] ?? "",
  seed: 0,
  normalize: "auto",
  backend: "wasm",
};

/**
 * What the page shows about a model. Builds its training step once, so that a model that cannot be trained is refused
 * immediately.
 * @throws SorthError that names what cannot be differentiated, or why no layer takes the penalty
 */
export async function summarizeModel(opened: OpenedModel): Promise<ModelSummary> {
  const { inspection, block, rescued } = opened;
  const losses = lossesOf(opened);
  const options = runOptions("som", opened, { ...standardSettings, loss: losses[0] ?? "" });
  const { optimizer } = options;
  if (!optimizer) throw new Error("the standard settings name no optimizer");
  const step = await buildStep(opened.models.som, { ...options, ...rescued?.som.options, optimizer });
  const { parameters } = step.ports;
  const input = inspection.inputs[0];
  const marked = block?.penalties.find(({ name }) => name === "som");
  const batch = fixedBatch(opened);
  return {
    name: opened.name,
    kind: block && !rescued ? "injected" : inspection.kind,
    bytes: opened.bytes,
    opset: inspection.opset,
    producer: inspection.producer,
    input: input ? `${input.name} ${input.type} [${input.shape.join(", ")}]` : "none",
    layers: [
      ...inspection.sites.map(({ name, op, units, fanIn, penalties }) => ({
        ...{ name, op, units, fanIn, penalty: penalties.som ?? true },
      })),
      ...inspection.skipped.map(({ name, op, reason }) => ({
        name,
        op,
        units: 0,
        fanIn: 0,
        penalty: reason,
      })),
    ],
    parameters: {
      tensors: parameters.length,
      numbers: parameters.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    },
    head: headSummary(opened),
    takesImages: takesImages(opened),
    classes: conversionOf(opened.original)?.classes,
    losses,
    fixed: {
      ...(batch !== undefined && { batch }),
      ...(marked && { som: somSettings(marked.options), weight: marked.weight }),
      ...(rescued && { optimizer: rescued.plain.optimizer.name }),
      ...(rescued?.plain.learningRate !== undefined && { learningRate: rescued.plain.learningRate }),
    },
    remarks: opened.source.kind === "sample" ? [] : inspection.advice,
  };
}

/** SOM's options as an injected block names them. */
const somSettings = (options: Readonly<Record<string, number | string | boolean>>): SomSettings => ({
  lambda1: Number(options.lambda1),
  lambda2: Number(options.lambda2),
  gamma: Number(options.gamma),
  reduction: options.reduction === "sum" ? "sum" : "mean",
});

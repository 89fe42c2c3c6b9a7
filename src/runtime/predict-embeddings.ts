import { hasFreeBatch } from "../analysis/dimensions.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { evaluationBatches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { lengthsOf, siameseOf } from "../data/lengths.ts";
import { given } from "../given.ts";
import { graphOf } from "../graph/model-graph.ts";
import { contrastive } from "../losses/contrastive.ts";
import type { Objective } from "../losses/objective.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount } from "../onnx/tensor.ts";
import { embeddingsOf } from "../programs/embeddings.ts";
import { inferenceForm } from "../programs/evaluation.ts";
import { inputPort } from "../programs/training-gradients.ts";
import { batchFeeds, normalizationFor } from "./batch-feeds.ts";
import { filledBatches } from "./evaluator.ts";
import { batchFor, type ModelRunOptions } from "./model-run.ts";
import { backendNamed } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** The embeddings of every sample as a loss of embeddings reads them: those of a pair's inputs follow one another. */
export async function* predictEmbeddings(
  model: Model,
  dataset: Dataset,
  objective: Objective,
  options: ModelRunOptions,
  runtime: TrainerRuntime,
): AsyncGenerator<{ readonly sample: number; readonly scores: readonly number[] }, void, undefined> {
  const own = graphOf(model);
  checkNoArtifact(own);
  const { output, normalize, signal, onMessage } = options;
  const siamese = siameseOf(model, dataset);
  const rows = batchFor(own, options.batch, dataset.size);
  const batch = hasFreeBatch(own) ? rows : rows / (siamese ?? 1);
  const lengths = lengthsOf(model, dataset, given({ siamese }));
  const asked = {
    // The loss only says how embeddings are read; any loss of embeddings takes several inputs.
    ...{ objective: contrastive(), batch },
    ...(Object.keys(lengths).length > 0 && { dims: lengths }),
    ...given({ siamese, output }),
  };
  const program = await inferenceForm(model, asked, runtime.probe);
  const term = { objective, name: objective.name, weight: 1, ...given({ output }) };
  const embeddings = embeddingsOf(program.prepared, term, asked);
  const { shape } = embeddings;
  program.dropOutputs();
  const { name } = program.output(embeddings, "embeddings");
  program.graph.prune();
  for (const input of [...program.graph.inputs]) if (input.uses.size === 0) program.graph.removeInput(input);
  const ports = {
    inputs: program.graph.inputs.map((input) => inputPort(input, shape[0])),
    labels: undefined,
  };
  const backend = backendNamed(options.backend, runtime.backends);
  const lower = await backend.lowering();
  const finished = await program.finish({ passes: lower?.passes ?? [], check: "structure" });
  const session = await backend.openForward(finished, options);
  const { labels: _, ...unlabelled } = dataset;
  const data: Dataset = dataset.inputs ? { ...unlabelled, y: { type: "none", shape: [] } } : dataset;
  try {
    const scaled = normalize ?? normalizationFor(data, { model, step: { ports } }, onMessage);
    const make = () => batchFeeds(ports, data, { normalize: scaled });
    const width = elementCount(shape.slice(1));
    let first = 0;
    for await (const { feeds, count } of filledBatches([...evaluationBatches(data, batch)], make(), make)) {
      signal?.throwIfAborted();
      const numbers = (await session.run(feeds.tensors())).get(name)?.numbers() ?? [];
      for (let i = 0; i < count; i++) {
        yield { sample: first + i, scores: Array.from(numbers.slice(i * width, (i + 1) * width)) };
      }
      first += count;
    }
  } finally {
    await session.release();
  }
}

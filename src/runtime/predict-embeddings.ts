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
import type { ForwardSession } from "./step-session.ts";
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
  const backend = backendNamed(options.backend, runtime.backends);
  const lower = await backend.lowering();
  const built = async (dims: Readonly<Record<string, number>>) => {
    const asked = {
      // The loss only says how embeddings are read; any loss of embeddings takes several inputs.
      ...{ objective: contrastive(), batch },
      ...(Object.keys(dims).length > 0 && { dims }),
      ...given({ siamese, output }),
    };
    const program = await inferenceForm(model, asked, runtime.probe);
    const term = { objective, name: objective.name, weight: 1, ...given({ output }) };
    const embeddings = embeddingsOf(program.prepared, term, asked);
    const { shape } = embeddings;
    program.dropOutputs();
    const { name } = program.output(embeddings, "embeddings");
    program.graph.pruneInputs();
    const inputs = program.graph.inputs.map((input) => inputPort(input, shape[0]));
    const finished = await program.finish({ passes: lower?.passes ?? [], check: "structure" });
    return { ports: { inputs, labels: undefined }, shape, name, finished };
  };
  const whole = await built(lengths);
  const { ports, shape, name } = whole;
  const { labels: _, ...unlabelled } = dataset;
  const samples: Dataset = dataset.inputs ? { ...unlabelled, y: { type: "none", shape: [] } } : dataset;
  const sessions: ForwardSession[] = [];
  const opened = async ({ finished }: typeof whole) => {
    const session = await backend.openForward(finished, options);
    sessions.push(session);
    return session;
  };
  try {
    const scaled = normalize ?? normalizationFor(samples, { model, step: { ports } }, onMessage);
    const texts =
      options.buckets &&
      (await (
        await import("./bucket-forward.ts")
      ).inFixedBuckets<typeof whole>(samples, options.buckets, {
        ...{ model, dims: lengths, whole, built, opened, onMessage },
        ...{ inputsOf: (one) => one.ports.inputs, shapes: new Map([[name, shape]]) },
      }));
    const session = texts ?? (await opened(whole));
    const make = () => batchFeeds(ports, samples, { normalize: scaled });
    const width = elementCount(shape.slice(1));
    const batches = [...evaluationBatches(samples, batch, false, texts?.order)];
    for await (const { feeds, indices, count } of filledBatches(batches, make(), make)) {
      signal?.throwIfAborted();
      if (indices === batches[0]?.indices) await texts?.check(feeds.tensors());
      const numbers = (await session.run(feeds.tensors())).get(name)?.numbers() ?? [];
      for (let i = 0; i < count; i++) {
        yield { sample: indices[i] ?? -1, scores: Array.from(numbers.slice(i * width, (i + 1) * width)) };
      }
    }
  } finally {
    for (const session of sessions) await session.release();
  }
}

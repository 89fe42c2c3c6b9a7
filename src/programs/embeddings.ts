import { declaredBatchAxis, fedInputs } from "../analysis/dimensions.ts";
import { typedOrHidden } from "../analysis/obstacle.ts";
import { SorthError, UsageError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import { dimAt, shapeText } from "../graph/shapes.ts";
import { choosePrediction, namesIn } from "../losses/prediction.ts";
import { isOfEmbeddings, type NamedTerm, termsOf } from "../losses/terms.ts";
import { checkNumber, count } from "../numbers.ts";
import type { LossOptions } from "./options.ts";
import type { PreparedGraph } from "./prepared-graph.ts";

/** Outputs that hold one embedding for each sample, in files that have those of the tokens too. */
const wholeEmbedding = "sentence_embedding";

/**
 * The options of the graph, whose rows are the inputs of all samples.
 * @throws UsageError for several inputs a sample beside a loss that is not of embeddings
 */
export function rows(options: LossOptions): LossOptions {
  const { siamese, batch, objective } = options;
  checkNumber("siamese", siamese, count);
  if (siamese === undefined || siamese === 1) return options;
  const other = objective && termsOf(objective).find((term) => !isOfEmbeddings(term.objective));
  if (!objective || other) {
    throw new UsageError(
      `siamese belongs to losses of embeddings (contrastive, triplet, cosine-similarity), not to ${other?.name ?? "the model's own loss"}`,
    );
  }
  return batch === undefined ? options : { ...options, batch: batch * siamese };
}

/** Gives the inputs of a graph the axis of a sample's inputs: [N·siamese, …] → [N, siamese, …]. */
export function split(graph: Graph, emit: Emit, { siamese = 1 }: LossOptions): void {
  if (siamese === 1) return;
  for (const input of fedInputs(graph)) {
    const { shape } = typed(input);
    const samples = dimAt(shape, 0) / siamese;
    if (declaredBatchAxis(input) !== 0 || !Number.isInteger(samples)) {
      throw new SorthError(
        `input "${input.name}" ${shapeText(shape)} holds no ${siamese} inputs of each sample on its first axis: export the model with a free batch there`,
      );
    }
    const own = [samples, siamese, ...shape.slice(1)];
    input.shape = own;
    input.declared = own;
    const inner = emit.reshape(input, shape);
    graph.replaceUses(input, inner, { except: new Set(inner.producer ? [inner.producer] : []) });
  }
}

/**
 * The embeddings that a loss reads: [N, units], or [N, embeddings, units] where a sample has several, from several inputs or from
 * several outputs.
 * @throws SorthError for a value that holds no embeddings
 */
export function embeddingsOf(
  prepared: PreparedGraph,
  { objective, output }: NamedTerm,
  { siamese = 1, onMessage }: LossOptions,
): Typed {
  const { graph, emit } = prepared;
  const whole = output === undefined ? graph.value(wholeEmbedding) : graph.value(output);
  const names =
    output === undefined
      ? [whole && graph.outputs.includes(whole) ? wholeEmbedding : undefined]
      : whole
        ? [output]
        : namesIn(output);
  const pooling = isOfEmbeddings(objective) ? (objective.embeds?.pooling ?? "mean") : "mean";
  const embeddings = names.map((name) => {
    const { value, remark } = choosePrediction(graph, { name: objective.name }, name);
    if (remark) onMessage?.(remark);
    return pooled(prepared, typedOrHidden(value), pooling);
  });
  const [first] = embeddings as [Typed];
  const [samples, units] = first.shape as [number, number];
  if (embeddings.length === 1) {
    return siamese === 1 ? first : emit.reshape(first, [samples / siamese, siamese, units]);
  }
  if (siamese !== 1) {
    throw new UsageError(
      `a sample has ${siamese} inputs (siamese) and the loss reads ${embeddings.length} outputs (${names.join(", ")}): give one of both`,
    );
  }
  const other = embeddings.find(({ shape }) => shape[0] !== samples || shape[1] !== units);
  if (other) {
    throw new SorthError(
      `the loss ${objective.name} compares embeddings of one size: "${names[0]}" has ${shapeText(first.shape)}, another output ${shapeText(other.shape)}`,
    );
  }
  return emit.concat(
    embeddings.map((one) => emit.reshape(one, [samples, 1, units])),
    1,
  );
}

/** One embedding for each row, [rows, units], of one that may have those of tokens, [rows, tokens, units]. */
function pooled({ graph, emit }: PreparedGraph, value: Typed, pooling: "mean" | "cls"): Typed {
  const { shape } = value;
  if (shape.length === 2) return value;
  if (shape.length !== 3) {
    throw new SorthError(
      `"${value.name}" ${shapeText(shape)} holds no embeddings: a loss of embeddings reads [samples, units] or [samples, tokens, units] (--prediction names another output)`,
    );
  }
  const [rows, tokens, units] = shape as [number, number, number];
  if (pooling === "cls") {
    return emit.reshape(emit.slice(value, [{ axis: 1, start: 0, length: 1 }]), [rows, units]);
  }
  const mask = graph.inputs.find(({ name }) => name === "attention_mask");
  const isOfTokens = mask?.shape && mask.shape.reduce((a, b) => a * b, 1) === rows * tokens;
  if (!mask || !isOfTokens) return emit.reduceMean(value, [1]);
  const type = value.type === "double" ? "double" : "float";
  const counts = emit.reshape(emit.cast(mask, type), [rows, tokens, 1]);
  const sum = emit.reduceSum(emit.mul(emit.cast(value, type), counts), [1]);
  return emit.mul(sum, emit.reciprocal(emit.max(emit.reduceSum(counts, [1]), 1e-9)));
}

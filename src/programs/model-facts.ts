import { type DimensionOptions, hasFreeBatch } from "../analysis/dimensions.ts";
import { artifactKind } from "../artifacts/training-model.ts";
import { type Block, blockOf } from "../block/block.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";

/** The facts about a model's file that its training depends on. */
export interface ModelFacts {
  /** Which file of ONNX Runtime's training tools it is; undefined for any other model. */
  readonly artifact: ReturnType<typeof artifactKind>;
  /** The penalties that were injected into it; undefined without any. */
  readonly block: Block | undefined;
  /** Whether it leaves the batch size open. */
  readonly freeBatch: boolean;
}

/** Says what a file is, without running it. @throws SorthError when the mark of its block is damaged */
export function modelFacts(model: Model, dimensions: DimensionOptions = {}): ModelFacts {
  const graph = graphOf(model);
  return {
    artifact: artifactKind(graph),
    block: blockOf(graph),
    freeBatch: hasFreeBatch(graph, dimensions),
  };
}

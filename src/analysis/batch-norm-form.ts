import type { Node } from "../graph/node.ts";

/** Whether a node normalizes with batch statistics. */
export const isTrainingForm = (node: Node): boolean =>
  node.op === "BatchNormalization" && node.flag("training_mode");

/** Key of a model's `metadata_props` that lists the BatchNormalization nodes which `recoverBatchNorm` has put into it. */
export const batchNormKey = "sorth.batch-norm";

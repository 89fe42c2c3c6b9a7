import type { Node } from "../graph/node.ts";

/** Whether a node normalizes with batch statistics. */
export const isTrainingForm = (node: Node): boolean =>
  node.op === "BatchNormalization" && node.flag("training_mode");

import { batchNormKey } from "../analysis/batch-norm-form.ts";
import type { Model } from "../onnx/model.ts";

/** Whether a model holds BatchNormalization nodes that `recoverBatchNorm` has put into it. */
export const hasRecoveredBatchNorm = ({ proto }: Model): boolean =>
  proto.metadataProps?.some(({ key }) => key === batchNormKey) ?? false;

/** The function that folds a recovered BatchNorm again before the caller gets a trained model. */
export async function finishOf(model: Model): Promise<(trained: Model) => Model> {
  if (!hasRecoveredBatchNorm(model)) return (trained) => trained;
  const { foldBatchNorm } = await import("../batch-norm/fold-batch-norm.ts");
  return foldBatchNorm;
}

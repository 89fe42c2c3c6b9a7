import { listed, UsageError } from "../errors.ts";
import { hasBodies } from "../passes/expansion/expand-bodies.ts";
import type { LossOptions, TrainingFormOptions } from "./options.ts";
import type { Program } from "./program.ts";

/**
 * Checks what is asked of BatchNormalization while training, and names the layers that no pass brings into the form for
 * training: those in a branch that data decides.
 * @throws UsageError for an option that would have no effect, because the model has no BatchNormalization
 */
export async function checkForm(
  { graph }: Pick<Program, "graph">,
  { batchNorm, runningVariance, onMessage }: TrainingFormOptions & Pick<LossOptions, "onMessage">,
): Promise<void> {
  const hidden = async (...ops: string[]): Promise<string[]> => {
    if (!hasBodies(graph)) return [];
    const { nodesInBodies } = await import("../analysis/hidden-sites.ts");
    return nodesInBodies(graph, new Set(ops)).map(({ node }) => node.label);
  };
  const asked =
    batchNorm === "frozen"
      ? "batchNorm frozen (--batch-norm frozen)"
      : runningVariance === "torch"
        ? "runningVariance torch (--running-variance torch)"
        : undefined;
  const op = "BatchNormalization";
  const isNormalized = async () =>
    graph.nodes.some((node) => node.op === op) ||
    graph.functions.some(({ node }) => node?.some(({ opType }) => opType === op)) ||
    (await hidden(op)).length > 0;
  if (asked !== undefined && !(await isNormalized())) {
    throw new UsageError(
      `${asked} has no effect: the model has no BatchNormalization (many exporters fold it into the layers); leave it out`,
    );
  }
  const ops = batchNorm === "frozen" ? ["Dropout"] : ["BatchNormalization", "Dropout"];
  const still = await hidden(...ops);
  if (still.length === 0) return;
  onMessage?.(
    `${ops.join(" and ")} in a branch that data decides: the form stays that of the file, usually that of inference (${listed(still)})`,
  );
}

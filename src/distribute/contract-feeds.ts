import type { MaskedLmOptions } from "../losses/masked-lm.ts";
import type { EvaluationGraph } from "../programs/evaluation.ts";
import { batchAxisOfPort, type DataPort, type StepPorts } from "../programs/step-ports.ts";
import type { ContractFeeds, Masking } from "./contract.ts";

/** The inputs of a step, or of an evaluation, that are fed with samples. */
export const feedsOf = (
  { inputs, labels, targets = [] }: Pick<StepPorts, "inputs" | "labels" | "targets">,
  evaluation: EvaluationGraph,
): ContractFeeds => ({
  inputs: inputs.map(withAxis),
  labels: labels
    ? {
        ...withAxis(labels),
        ...(labels.own && (labels.own.replacesTokens ? maskingIn(evaluation) : { own: "tokens" as const })),
      }
    : null,
  targets,
});

/** How masked-lm masks tokens; nothing where it leaves that to the data. */
function maskingIn({ terms }: EvaluationGraph): { readonly own?: Masking } {
  const term = terms.find(({ objective }) => objective?.name === "masked-lm");
  const { maskToken, probability, specialTokens } = (term?.objective?.options ?? {}) as MaskedLmOptions;
  if (typeof maskToken !== "number") return {};
  const special = specialTokens === "none" ? [] : `${specialTokens}`.split(",").filter(Boolean).map(Number);
  const tokens = term?.prediction?.shape.at(-1) ?? 0;
  return { own: { maskToken, probability: probability ?? 0, specialTokens: special, tokens } };
}

const withAxis = ({ name, type, shape, ...port }: DataPort): DataPort => ({
  ...{ name, type, shape, batchAxis: batchAxisOfPort({ name, type, shape, ...port }) },
});

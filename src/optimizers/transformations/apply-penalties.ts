import { zipped } from "../each-parameter.ts";
import type { GradientTransformation } from "../transformation.ts";
import { Update } from "../update.ts";

/**
 * Moves weights down their penalties beside the optimizer, where penalties are not in the loss:
 *
 *     decoupled:    w ← w − u − lr·∇(w)            as decoupled weight decay (arXiv 1711.05101)
 *     retraction:   w ← v − ∇(v), v = w − u        as Parseval networks (arXiv 1704.08847)
 *
 * with the update u and the penalties' gradient ∇, which has their weight ({@link TransformationInputs.penaltyGradient}). Its place
 * is after the optimizer.
 */
export function applyPenalties(how: "decoupled" | "retraction"): GradientTransformation {
  const after = how === "retraction";
  return {
    ...{ name: "apply-penalties", options: { how } },
    // A retraction takes the gradient of a weight in the model's form.
    ...(!after && { treatment: ({ penalized }) => (penalized ? undefined : "") }),
    init: () => [],
    emit: (g, { parameters, updates, learningRate, penaltyGradient }) => ({
      updates: updates.map((update, i) => {
        const spec = parameters[i];
        if (!spec?.penalized || !penaltyGradient) return update;
        const { parameter } = update;
        const next = () => {
          const updated = update.next();
          if (after) return g.sub(updated, penaltyGradient(spec, updated));
          return g.sub(updated, g.mul(penaltyGradient(spec, parameter), learningRate(spec)));
        };
        return new Update(g, parameter, () => ({ next }));
      }),
      state: [],
    }),
    compute: ({ parameters, updates, learningRate, penaltyGradient }) => ({
      updates: updates.map((update, i) => {
        const spec = parameters[i];
        if (!spec?.penalized || !penaltyGradient) return [...update];
        const { values } = spec;
        if (!after) return zipped(update, penaltyGradient(spec, values), (u, p) => u + learningRate * p);
        const updated = zipped(values, update, (w, u) => w - u);
        return zipped(update, penaltyGradient(spec, updated), (u, p) => u + p);
      }),
      state: [],
    }),
  };
}

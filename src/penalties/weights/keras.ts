import { cosinesOf } from "../cosines.ts";
import { definePenalty } from "../define.ts";
import type { Matrix } from "../plain-layer.ts";
import { fromCosines, ofWeights, transposed, withGradient } from "../plain-math.ts";
import { meanOfGroupSums, penaltyOfGram } from "../weight-penalty.ts";

/** Options of the penalty keras. */
export type KerasOptions = {
  /** In the kernel [inputs, units], "rows" (Keras's default) compares inputs and "columns" compares units. */
  readonly mode: "rows" | "columns";
};

/** Keras replaces norms below 1e-7 by 1e-7. */
const normalization = { added: 0, least: 1e-14 } as const;

/**
 * Keras's OrthogonalRegularizer: the mean absolute cosine
 *
 *     R = mean |cos(vᵢ, vⱼ)|, i≠j
 *
 * of the rows or columns of the kernel [inputs, units]. Keras itself accepts only matrices; here the kernels of a convolution
 * are flattened to [channels · kernel, units].
 * Source: keras.regularizers.OrthogonalRegularizer (Keras 3), factor 0.01, mode "rows".
 */
export const keras = definePenalty<KerasOptions>({
  name: "keras",
  summary: "Keras's OrthogonalRegularizer: small cosines",
  formula: "mean |cos(vᵢ, vⱼ)|, i≠j, of the kernel's rows or columns",
  source: "keras.regularizers.OrthogonalRegularizer (Keras 3): factor 0.01, mode rows",
  defaults: { mode: "rows" },
  choices: { mode: ["rows", "columns"] },
  about: { mode: "of the kernel [inputs, units]: rows compares inputs, columns compares units" },
  on: "weights",
  weight: 0.01,
  applies: ({ fanIn }, { mode }) =>
    mode === "rows" && fanIn < 2 ? "one input has no pairs; mode=columns compares units" : true,
  build: (layer, { mode }) => {
    const { groups } = layer.site;
    return penaltyOfGram(layer, mode === "rows" ? "inputs" : "units", (g, gram) => {
      const size = gram.shape.at(-1) ?? 0;
      const pairs = size * (size - 1);
      const cosines = cosinesOf(g, gram, normalization);
      const apart = g.mul(cosines.value, g.offDiagonal(size, gram.type));
      return {
        value: g.mul(meanOfGroupSums(g, g.abs(apart), groups), 1 / pairs),
        pull: () => {
          const sign = g.sub(
            g.indicator(g.greater(apart, 0), gram.type),
            g.indicator(g.less(apart, 0), gram.type),
          );
          return cosines.pull(g.mul(sign, 2 / pairs / groups));
        },
      };
    });
  },
  reference: (layer, { mode }) => {
    const ofVectors = (vectors: Matrix) => {
      const pairs = vectors.length * (vectors.length - 1);
      return fromCosines(vectors, normalization, (cosine, i, j) =>
        i === j
          ? { value: 0, slope: 0 }
          : { value: Math.abs(cosine) / pairs, slope: Math.sign(cosine) / pairs },
      );
    };
    return ofWeights(layer, (rows) => {
      if (mode === "columns") return ofVectors(rows);
      const turned = ofVectors(transposed(rows));
      return withGradient(turned.value, () => transposed(turned.gradient));
    });
  },
});

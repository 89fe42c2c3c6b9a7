import type { Experiment } from "./experiment.ts";
import { variantTable } from "./markdown.ts";
import { gainFigure } from "./plots.ts";
import { compare, type Variant, type VariantResult } from "./variants.ts";

/** Weights of SOM with sums over pairs, from the published one down. */
const sumWeights = [1, 1e-2, 1e-4, 1e-6, 1e-8];
const meanWeights = [1, 0.1, 0.01];
const optimizers = [
  { optimizer: "adamw", learningRate: 1e-3 },
  { optimizer: "sgd", learningRate: 0.02 },
] as const;

/** Does training fail with the sum over pairs, as published, and what do means change? */
export const reduction: Experiment<Record<string, VariantResult[]>> = {
  name: "reduction",
  needsFashion: false,
  async run(pool, size) {
    const results = await Promise.all(
      optimizers.map(async ({ optimizer, learningRate }) => {
        const variant = (name: string, penalties: readonly string[]): Variant => ({
          ...{ name, network: "wide-mlp" },
          stages: [
            {
              ...{ data: "mnist", samples: size.samples, epochs: size.epochs },
              ...{ optimizer, learningRate, penalties },
            },
          ],
        });
        const variants = [
          variant("plain", []),
          ...meanWeights.map((weight) =>
            variant(`mean, weight ${weight}`, [`som:lambda1=100,weight=${weight}`]),
          ),
          ...[1, 0.3, 0.1].map((weight) =>
            variant(`mean, λ1 = 0, weight ${weight}`, [`som:lambda1=0,weight=${weight}`]),
          ),
          ...meanWeights
            .slice(0, 2)
            .map((weight) =>
              variant(`mean, not of logits, weight ${weight}`, [
                `som:lambda1=100,weight=${weight},exclude=logits`,
              ]),
            ),
          ...sumWeights.map((weight) =>
            variant(`sum, weight ${weight}`, [`som:lambda1=100,reduction=sum,weight=${weight}`]),
          ),
        ];
        return [optimizer, await compare(pool, variants, size, () => "plain")] as const;
      }),
    );
    return Object.fromEntries(results);
  },
  tables: (results) =>
    Object.entries(results)
      .map(([optimizer, variants]) =>
        variantTable(variants, optimizer === "sgd" ? "SGD, momentum 0.9" : "AdamW"),
      )
      .join("\n\n"),
  figures: (results) =>
    Object.entries(results).map(([optimizer, variants]) =>
      gainFigure(
        `reduction-${optimizer}`,
        variants,
        `Gain in accuracy with ${optimizer}, mean and sum over pairs`,
      ),
    ),
};

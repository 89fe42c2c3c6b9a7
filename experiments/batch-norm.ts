import type { Experiment } from "./experiment.ts";
import { variantTable } from "./markdown.ts";
import { gainFigure } from "./plots.ts";
import { compare, type Variant, type VariantResult } from "./variants.ts";

const rates = [1e-3, 3e-3, 1e-2];
const dataSets = ["mnist", "fashion"] as const;
const methods = [
  { method: undefined, penalties: [] },
  { method: "SOM", penalties: ["som:lambda1=100,weight=0.1"] },
  { method: "SOM not of logits", penalties: ["som:lambda1=100,weight=0.1,exclude=logits"] },
];

/** With and without BatchNormalization, with and without SOM: can one replace the other? */
export const batchNorm: Experiment<Record<string, VariantResult[]>> = {
  name: "batch-norm",
  needsFashion: true,
  async run(pool, size) {
    const results = await Promise.all(
      dataSets.map(async (data) => {
        const variants = rates.flatMap((learningRate) =>
          (["cnn", "cnn-bn"] as const).flatMap((network) =>
            methods.map(
              ({ method, penalties }): Variant => ({
                name: nameOf(network === "cnn-bn", method, learningRate),
                network,
                stages: [{ data, samples: size.samples, epochs: size.epochs, learningRate, penalties }],
              }),
            ),
          ),
        );
        const baseline = ({ stages }: Variant) => nameOf(false, undefined, stages[0]?.learningRate ?? 0);
        return [data, await compare(pool, variants, size, baseline)] as const;
      }),
    );
    return Object.fromEntries(results);
  },
  tables: (results) =>
    Object.entries(results)
      .map(([data, variants]) => variantTable(variants, data))
      .join("\n\n"),
  figures: (results) =>
    Object.entries(results).map(([data, variants]) =>
      gainFigure(`batch-norm-${data}`, variants, `Gain in accuracy over neither on ${data}`),
    ),
};

const nameOf = (batchNorm: boolean, method: string | undefined, rate: number): string =>
  `${[...(batchNorm ? ["BatchNorm"] : []), ...(method ? [method] : [])].join(" + ") || "neither"}, rate ${rate}`;

import type { Experiment } from "./experiment.ts";
import { variantTable } from "./markdown.ts";
import { gainFigure } from "./plots.ts";
import { compare, type Variant, type VariantResult } from "./variants.ts";

/** The rows by which units are compared; the source uses the batch instead of random directions. */
const forms = [
  ["plain", undefined],
  ["batch, all positions", ""],
  ["batch, λ1 = 0", ",lambda1=0"],
  ["batch, not of logits", ",exclude=logits"],
  ...[1, 4, 16].map((rows) => [`batch, ${rows} positions of each sample`, `,maxRows=${rows}`] as const),
  ...[64, 256, 1024].map(
    (directions) => [`${directions} random directions`, `,rows=random,directions=${directions}`] as const,
  ),
  ["exact angles of the weights", ",angles=weights"],
  ["batch, centred", ",center=true"],
  ["batch, scaled to rms 1", ",scale=rms"],
  ["batch, bias removed", ",bias=remove"],
] as const;

const weight = 0.1;

/** The batch compared with random directions, with subsets of rows, and with SOM's other forms, at one weight. */
export const rows: Experiment<VariantResult[]> = {
  name: "rows",
  needsFashion: true,
  run: (pool, size) =>
    compare(
      pool,
      forms.map(
        ([name, options]): Variant => ({
          ...{ name, network: "cnn" },
          stages: [
            {
              ...{ data: "fashion", samples: size.samples, epochs: size.epochs, learningRate: 3e-3 },
              penalties:
                options === undefined
                  ? []
                  : [`som:weight=${weight}${options.includes("lambda1") ? "" : ",lambda1=100"}${options}`],
            },
          ],
        }),
      ),
      size,
      () => "plain",
    ),
  tables: (results) => variantTable(results, "rows"),
  figures: (results) => [
    gainFigure("rows", results, "Gain in accuracy over plain by what units are compared by"),
  ],
};

import type { Experiment } from "./experiment.ts";
import { variantTable } from "./markdown.ts";
import { gainFigure } from "./plots.ts";
import { compare, type Variant, type VariantResult } from "./variants.ts";

const networks = ["pointnet", "pointnet-bn"] as const;
const methods = [
  { name: "plain", penalties: [] },
  ...[0.01, 0.1, 1].map((weight) => ({ name: `SOM, weight ${weight}`, penalties: [`som:weight=${weight}`] })),
  { name: "so, weight 0.01", penalties: ["so:weight=0.01"] },
];

/** The main setting of the paper: a PointNet, here on digits as 128 points each. */
export const pointClouds: Experiment<Record<string, VariantResult[]>> = {
  name: "point-clouds",
  async run(pool, size) {
    const results = await Promise.all(
      networks.map(async (network) => {
        const variants = methods.map(
          ({ name, penalties }): Variant => ({
            ...{ name, network },
            stages: [
              { data: "points", samples: size.samples, epochs: size.epochs, learningRate: 3e-3, penalties },
            ],
          }),
        );
        return [network, await compare(pool, variants, size, () => "plain")] as const;
      }),
    );
    return Object.fromEntries(results);
  },
  tables: (results) =>
    Object.entries(results)
      .map(([network, variants]) => variantTable(variants, titles[network] ?? network))
      .join("\n\n"),
  figures: (results) =>
    Object.entries(results).map(([network, variants]) =>
      gainFigure(`point-clouds-${network}`, variants, `Gain in accuracy of ${network} on digits as points`),
    ),
};

const titles: Readonly<Record<string, string>> = {
  pointnet: "without BatchNorm",
  "pointnet-bn": "with BatchNorm",
};

import type { Experiment } from "./experiment.ts";
import { variantTable } from "./markdown.ts";
import { gainFigure } from "./plots.ts";
import { compare, type Variant, type VariantResult } from "./variants.ts";

const networks = ["pointnet", "pointnet-bn"] as const;
const methods = [
  { name: "plain", penalties: [] },
  ...[0.01, 0.1, 1].map((weight) => ({
    name: `SOM, weight ${weight}`,
    penalties: [`som:lambda1=100,weight=${weight}`],
  })),
  ...[0.1, 0.3].map((weight) => ({
    name: `SOM, λ1 = 0, weight ${weight}`,
    penalties: [`som:lambda1=0,weight=${weight}`],
  })),
  ...[0.1, 1].map((weight) => ({
    name: `SOM not of logits, weight ${weight}`,
    penalties: [`som:lambda1=100,weight=${weight},exclude=logits`],
  })),
  { name: "so, weight 0.01", penalties: ["so:weight=0.01"] },
];
/** Shares of the full number of epochs; a quarter favours methods that converge faster. */
const shares = [1, 0.25];

/** A network and a length of training. */
interface Setting {
  readonly network: (typeof networks)[number];
  readonly epochs: number;
  readonly variants: readonly VariantResult[];
}

/** The main setting of the paper, a PointNet; here on digits as 128 points each. */
export const pointClouds: Experiment<Setting[]> = {
  name: "point-clouds",
  needsFashion: false,
  run: (pool, size) =>
    Promise.all(
      networks.flatMap((network) =>
        shares.map(async (share): Promise<Setting> => {
          const epochs = Math.ceil(size.epochs * share);
          const variants = methods.map(
            ({ name, penalties }): Variant => ({
              ...{ name, network },
              stages: [{ data: "points", samples: size.samples, epochs, learningRate: 3e-3, penalties }],
            }),
          );
          return { network, epochs, variants: await compare(pool, variants, size, () => "plain") };
        }),
      ),
    ),
  tables: (settings) =>
    settings.map((setting) => variantTable(setting.variants, titleOf(setting))).join("\n\n"),
  figures: (settings) =>
    settings.map((setting) =>
      gainFigure(
        `point-clouds-${setting.network}-${setting.epochs}`,
        setting.variants,
        `Gain in accuracy on digits as points, ${titleOf(setting)}`,
      ),
    ),
};

const titleOf = ({ network, epochs }: Setting): string =>
  `${network === "pointnet" ? "without" : "with"} BatchNorm, ${epochs} epochs`;

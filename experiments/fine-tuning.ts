import type { Experiment, Size } from "./experiment.ts";
import { variantTable } from "./markdown.ts";
import { gainFigure } from "./plots.ts";
import type { Stage } from "./training-run.ts";
import { compare, type Variant, type VariantResult } from "./variants.ts";

const som = ["som:lambda1=100,weight=0.1"];
const methods = [
  { method: "plain", penalties: [] },
  { method: "SOM", penalties: som },
  { method: "SOM not of logits", penalties: ["som:lambda1=100,weight=0.1,exclude=logits"] },
];
const learningRate = 3e-3;

/** SOM from the start, as in the source, and SOM added to a network that was trained without it. */
export const fineTuning: Experiment<Record<string, VariantResult[]>> = {
  name: "fine-tuning",
  needsFashion: true,
  async run(pool, size) {
    const results = await Promise.all(
      Object.entries(settings(size)).map(async ([name, variants]) => [
        name,
        await compare(pool, variants, size, (variant) =>
          variant.name.replace(/^SOM( not of logits)?/, "plain"),
        ),
      ]),
    );
    return Object.fromEntries(results);
  },
  tables: (results) =>
    Object.entries(results)
      .map(([setting, variants]) => variantTable(variants, setting))
      .join("\n\n"),
  figures: (results) =>
    Object.entries(results).map(([setting, variants], i) =>
      gainFigure(`fine-tuning-${i + 1}`, variants, `Gain of SOM in accuracy, ${setting}`),
    ),
};

/** In each setting, variants named SOM… are compared with the variant named plain. */
function settings({ samples, epochs }: Size): Record<string, Variant[]> {
  const fashion: Stage = { data: "fashion", samples, epochs, learningRate };
  const few: Stage = { data: "mnist", samples: Math.min(samples, 1000), epochs, learningRate };
  const slower = { learningRate: learningRate / 3 };
  const each = (setting: string, stages: (penalties: readonly string[]) => readonly Stage[]): Variant[] =>
    methods.map(({ method, penalties }) => ({
      ...{ name: `${method} ${setting}`, network: "cnn-bn" },
      stages: stages(penalties),
    }));
  return {
    "the same task (clothes)": [
      ...each("from scratch", (penalties) => [{ ...fashion, epochs: 2 * epochs, penalties }]),
      ...each("on a network trained plain", (penalties) => [fashion, { ...fashion, ...slower, penalties }]),
    ],
    "another task (clothes, then 1,000 digits)": [
      ...each("from scratch", (penalties) => [{ ...few, penalties }]),
      ...each("on a network trained plain", (penalties) => [fashion, { ...few, ...slower, penalties }]),
      ...each("on a network trained with SOM", (penalties) => [
        { ...fashion, penalties: som },
        { ...few, ...slower, penalties },
      ]),
    ],
  };
}

import type { Experiment, Size } from "./experiment.ts";
import { gainText, plusMinus, table } from "./markdown.ts";
import { type Method, methodStage, methods } from "./methods.ts";
import { gainFigure } from "./plots.ts";
import type { Pool } from "./pool.ts";
import { mean } from "./statistics.ts";
import { compare, percent, round, runsOf, type Variant, type VariantResult } from "./variants.ts";

/** Every method tries exactly its usual weight and these multiples of it. */
const multiples = [1e-3, 1e-2, 0.1, 1, 10];

/** A chosen weight, and the candidates' mean validation accuracies in per cent. */
interface Choice {
  readonly weight: number;
  readonly candidates: readonly { readonly weight: number; readonly accuracy: number }[];
}

interface DataResult {
  readonly variants: readonly VariantResult[];
  readonly choices: Readonly<Record<string, Choice>>;
}

/** All penalties on two image data sets, each with the same number of candidate weights. */
export const allPenalties: Experiment<Record<string, DataResult>> = {
  name: "all-penalties",
  needsFashion: true,
  async run(pool, size) {
    const results = await Promise.all(
      (["mnist", "fashion"] as const).map(async (data) => {
        const variant = (method: Method, weight: number): Variant => ({
          ...{ name: method.name, network: "cnn-bn" },
          stages: [
            {
              ...{ data, samples: size.samples, epochs: size.epochs, learningRate: 3e-3 },
              ...methodStage(method, weight),
            },
          ],
        });
        const chosen = await Promise.all(
          methods.map(async (method) => ({ method, choice: await choose(pool, method, variant, size) })),
        );
        const plain: Variant = { ...variant({ name: "plain", usual: 0 }, 0), name: "plain" };
        const variants = await compare(
          pool,
          [plain, ...chosen.map(({ method, choice }) => variant(method, choice.weight))],
          size,
          () => "plain",
        );
        const choices = Object.fromEntries(chosen.map(({ method, choice }) => [method.name, choice]));
        return [data, { variants, choices }] as const;
      }),
    );
    return Object.fromEntries(results);
  },
  tables: (results) =>
    Object.entries(results)
      .map(([data, { variants, choices }]) =>
        table(
          [
            data,
            "weight chosen",
            "accuracy %",
            "gain",
            "weight angles: spread °",
            "response angles: spread °",
          ],
          [...variants]
            .sort((a, b) => b.accuracy.mean - a.accuracy.mean)
            .map(({ name, accuracy, gain, weightSpread, responseSpread }) => [
              name,
              `${choices[name]?.weight ?? ""}`,
              plusMinus(accuracy),
              gainText(gain),
              plusMinus(weightSpread, 1),
              plusMinus(responseSpread, 1),
            ]),
        ),
      )
      .join("\n\n"),
  figures: (results) =>
    Object.entries(results).map(([data, { variants }]) =>
      gainFigure(
        `all-penalties-${data}`,
        [...variants].sort((a, b) => b.accuracy.mean - a.accuracy.mean),
        `Gain in accuracy over plain on ${data}, each at its chosen weight`,
      ),
    ),
};

/** The weight with the best mean validation accuracy over the tuning seeds; of equal ones, the smallest. */
async function choose(
  pool: Pool,
  method: Method,
  variant: (method: Method, weight: number) => Variant,
  size: Size,
): Promise<Choice> {
  const candidates = await Promise.all(
    multiples.map(async (multiple) => {
      const weight = Number((method.usual * multiple).toPrecision(3));
      const outcomes = await pool.all(runsOf(variant(method, weight), size.tuningSeeds, size));
      const accuracies = outcomes.map(({ validation, divergedAt }) =>
        divergedAt === undefined ? validation : 0,
      );
      return { weight, accuracy: round(mean(accuracies.map(percent)), 3) };
    }),
  );
  const best = candidates.reduce((a, b) => (b.accuracy > a.accuracy ? b : a));
  return { weight: best.weight, candidates };
}

import { loadMnist, responseAngles, sampleFeeds, weightAngles } from "../src/index.ts";
import { Random } from "../src/random.ts";
import type { Experiment, Size } from "./experiment.ts";
import { table } from "./markdown.ts";
import { network } from "./networks.ts";
import { lineFigure } from "./plots.ts";
import { mean } from "./statistics.ts";
import { round } from "./variants.ts";

/** Gaussian rows: the error of the estimate of 1 − 2θ/π from b rows. */
interface RowsResult {
  readonly rows: number;
  /** Root mean square errors over angles from 5° to 175°, in degrees (an error of 1 is 90°). */
  readonly sign: number;
  readonly predicted: number;
  readonly tanh: Readonly<Record<string, number>>;
}

/** Real inputs: the distance between the response angles and the weight angles of an untrained network. */
interface InputResult {
  readonly layer: string;
  readonly gamma: number;
  /** Root mean square distance over the pairs, in degrees. */
  readonly difference: number;
  readonly weightSpread: number;
  readonly responseMean: number;
  readonly responseSpread: number;
}

interface LshResult {
  readonly rows: readonly RowsResult[];
  readonly inputs: readonly InputResult[];
}

const gammas = [1, 3, 10, 100];
const angles = Array.from({ length: 35 }, (_, i) => (5 * (i + 1) * Math.PI) / 180);

/** Locality-sensitive hashing: do signs, or tanh instead, estimate 1 − 2θ/π? */
export const lsh: Experiment<LshResult> = {
  name: "lsh",
  needsFashion: false,
  run: async (_, size) => ({ rows: gaussianRows(size), inputs: await realInputs(size) }),
  tables: ({ rows, inputs }) =>
    [
      table(
        ["rows b", "sign: error °", "predicted °", ...gammas.map((gamma) => `tanh, γ = ${gamma}: error °`)],
        rows.map(({ rows, sign, predicted, tanh }) =>
          [
            rows.toLocaleString("en"),
            sign,
            predicted,
            ...gammas.map((gamma) => tanh[gamma] ?? Number.NaN),
          ].map((cell) => (typeof cell === "number" ? cell.toFixed(2) : cell)),
        ),
      ),
      table(
        [
          "layer on digits",
          "γ",
          "weight angles: spread °",
          "response angles: mean °",
          "spread °",
          "response − weight angle °",
        ],
        inputs.map(({ layer, gamma, difference, weightSpread, responseMean, responseSpread }) => [
          ...[layer, `${gamma}`],
          ...[weightSpread, responseMean, responseSpread, difference].map((number) => number.toFixed(1)),
        ]),
      ),
    ].join("\n\n"),
  figures: ({ rows }) => [
    lineFigure("lsh", "Error of an angle estimated from b Gaussian rows", {
      x: { label: "rows b", type: "log" },
      y: { label: "root mean square error °", type: "log" },
      lines: [
        {
          name: "1/√b, predicted",
          dashed: true,
          points: rows.map(({ rows, predicted }) => [rows, predicted]),
        },
        { name: "sign", points: rows.map(({ rows, sign }) => [rows, sign]) },
        ...gammas.map((gamma) => ({
          name: `tanh, γ = ${gamma}`,
          points: rows.map(({ rows, tanh }) => [rows, tanh[gamma] ?? Number.NaN] as const),
        })),
      ],
    }),
  ],
};

/**
 * The products of a Gaussian row with two unit vectors at the angle θ are two standard normal numbers, y₁ and
 * y₂ = cos θ·y₁ + sin θ·z. The estimate from b rows uses the first b of all rows.
 */
function gaussianRows({ rows: most, trials }: Size): RowsResult[] {
  const counts = Array.from({ length: 20 }, (_, i) => 16 * 4 ** i).filter((count) => count <= most);
  const forms = [Math.sign, ...gammas.map((gamma) => (y: number) => Math.tanh(gamma * y))];
  const random = new Random("lsh", 1);
  // [count][form]: squared errors
  const squares = counts.map(() => forms.map(() => [] as number[]));
  for (const angle of angles) {
    const exact = 1 - (2 * angle) / Math.PI;
    for (let trial = 0; trial < trials; trial++) {
      const sums = forms.map(() => ({ product: 0, first: 0, second: 0 }));
      for (let row = 1; row <= most; row++) {
        const y1 = random.normal();
        const y2 = Math.cos(angle) * y1 + Math.sin(angle) * random.normal();
        forms.forEach((form, i) => {
          const sum = sums[i] as { product: number; first: number; second: number };
          const [t1, t2] = [form(y1), form(y2)];
          sum.product += t1 * t2;
          sum.first += t1 * t1;
          sum.second += t2 * t2;
        });
        const at = counts.indexOf(row);
        if (at >= 0) {
          sums.forEach(({ product, first, second }, i) => {
            squares[at]?.[i]?.push((product / Math.sqrt(first * second) - exact) ** 2);
          });
        }
      }
    }
  }
  const error = (values: readonly number[] | undefined) => round(90 * Math.sqrt(mean(values ?? [])), 3);
  return counts.map((count, at) => ({
    rows: count,
    sign: error(squares[at]?.[0]),
    predicted: error(angles.map((angle) => (1 - (1 - (2 * angle) / Math.PI) ** 2) / count)),
    tanh: Object.fromEntries(gammas.map((gamma, i) => [gamma, error(squares[at]?.[i + 1])])),
  }));
}

/** Digits instead of random rows: the first layer sees pixels, the second the output of ReLU. */
async function realInputs({ rows, test }: Size): Promise<InputResult[]> {
  const model = network("mlp", 1);
  const { layers: weights } = await weightAngles(model, { spectra: false, vectors: true });
  const { test: digits } = await loadMnist();
  if (!digits) throw new Error("MNIST has no test set here");
  const results: InputResult[] = [];
  for (const gamma of [1, 10, 100]) {
    const feeds = await sampleFeeds(model, digits, Math.min(rows, test, digits.size));
    const { layers: responses } = await responseAngles(model, feeds, { gamma, cosines: true });
    for (const { name, units, fanIn, vectors, spread } of weights) {
      const layer = responses.find((candidate) => candidate.name === name);
      if (!vectors || !layer?.cosines) throw new Error(`layer ${name} was not measured`);
      const squares: number[] = [];
      for (let i = 0; i < units; i++) {
        for (let j = 0; j < i; j++) {
          const angle = Math.acos(cosine(vectors, fanIn, i, j));
          squares.push((90 * ((layer.cosines[i * units + j] ?? 0) - (1 - (2 * angle) / Math.PI))) ** 2);
        }
      }
      results.push({
        ...{
          layer: name,
          gamma,
          difference: round(Math.sqrt(mean(squares)), 3),
          weightSpread: round(spread, 3),
        },
        ...{ responseMean: round(layer.mean, 3), responseSpread: round(layer.spread, 3) },
      });
    }
  }
  return results;
}

function cosine(vectors: ArrayLike<number>, fanIn: number, i: number, j: number): number {
  const sums = { product: 0, first: 0, second: 0 };
  for (let at = 0; at < fanIn; at++) {
    const [a, b] = [vectors[i * fanIn + at] ?? 0, vectors[j * fanIn + at] ?? 0];
    sums.product += a * b;
    sums.first += a * a;
    sums.second += b * b;
  }
  return sums.product / Math.sqrt(sums.first * sums.second);
}

import type { LabelMaker } from "../losses/objective.ts";
import { elementCount } from "../onnx/tensor.ts";
import { isWide } from "../onnx/tensor-data.ts";
import { randomStream } from "../random.ts";
import type { BatchArray, Column, Dataset, Filled, SampleType, TrainingPass } from "./dataset.ts";
import { isPending, mainColumn } from "./dataset.ts";

/** Reads samples of one array of a dataset. */
type Read = (indices: ArrayLike<number>, target: BatchArray, pass?: TrainingPass) => Filled;

/** The tokens of a dataset: the array `input_ids`, else the one that serves as x. */
export function tokensOf(dataset: Dataset): Column {
  const { inputs, x, y } = dataset;
  const column = inputs?.get("input_ids") ?? (inputs && mainColumn(inputs.values()));
  if (column) return column;
  const scratch = (rows: number): BatchArray => new Float64Array(rows * elementCount(y.shape));
  return {
    ...{ ...x, name: "x" },
    // The range is not known: only the dataset's fill gives its numbers.
    range: () => ({ least: 0, most: 0, whole: x.type === "integer" }),
    fill: (indices, target, pass) => dataset.fill(indices, target, scratch(indices.length), pass),
  };
}

/** What an array holds that data usually leave out, from the attention mask of a sample (1 everywhere where there is none). */
const usual: Readonly<Record<string, (values: Float64Array) => void>> = {
  attention_mask: () => {},
  token_type_ids: (values) => values.fill(0),
  // The places of the tokens that count; padding has place 1, as in Hugging Face's libraries.
  position_ids: (values) => {
    let place = -1;
    for (let at = 0; at < values.length; at++) {
      const counts = values[at] !== 0;
      if (counts) place += 1;
      values[at] = counts ? place : 1;
    }
  },
};

/** Whether data usually leave out an input of that name. */
export const isUsual = (name: string): boolean => Object.hasOwn(usual, name);

/**
 * An input of language models that the data do not hold, with its usual numbers: `attention_mask` 1, `token_type_ids` 0,
 * `position_ids` the place of each token that the attention mask counts.
 * @returns undefined for any other input
 */
export function usualColumn(name: string, dataset: Dataset): Column | undefined {
  const write = usual[name];
  const { shape, type } = tokensOf(dataset);
  // A sample may hold several texts.
  if (!write || shape.length < 1 || shape.length > 2 || type !== "integer") return undefined;
  const length = shape.at(-1) ?? 1;
  const texts = elementCount(shape) / length;
  const attention = dataset.inputs?.get("attention_mask");
  return {
    ...{ name, type: "integer", shape, range: () => ({ least: 0, most: length, whole: true }) },
    fill(indices, target, pass) {
      const values = new Float64Array(indices.length * texts * length).fill(1);
      const finish = () => {
        for (let row = 0; row < indices.length * texts; row++)
          write(values.subarray(row * length, (row + 1) * length));
        copyTo(target, values);
      };
      return after(attention?.fill(indices, values, pass), finish);
    },
  };
}

/** Tokens and labels as a loss makes them of the tokens of a dataset. */
export function labelledTokens(
  dataset: Dataset,
  { make }: LabelMaker,
): { readonly tokens: Column; readonly labels: SampleType & Pick<Column, "range" | "fill"> } {
  const column = tokensOf(dataset);
  const attention = dataset.inputs?.get("attention_mask");
  const length = elementCount(column.shape);
  const read =
    (wanted: "tokens" | "labels"): Read =>
    (indices, target, pass) => {
      const all = new Float64Array(indices.length * length);
      const counts = attention && new Float64Array(all.length);
      const finish = () => {
        const labels = new Float64Array(all.length);
        for (let row = 0; row < indices.length; row++) {
          const part = <T extends Float64Array | undefined>(values: T) =>
            values?.subarray(row * length, (row + 1) * length) as T;
          const index = indices[row] as number;
          const random = pass
            ? randomStream("tokens", pass.seed, pass.epoch, index)
            : randomStream("tokens of an evaluation", index);
          make({ tokens: part(all), attention: part(counts), labels: part(labels), random });
        }
        copyTo(target, wanted === "tokens" ? all : labels);
      };
      const filled = [column.fill(indices, all, pass), counts && attention?.fill(indices, counts, pass)];
      const pending = filled.filter((one) => isPending(one));
      return pending.length > 0 ? Promise.all(pending).then(finish) : finish();
    };
  return {
    tokens: { ...column, fill: read("tokens") },
    labels: { ...{ type: "integer", shape: column.shape }, range: column.range, fill: read("labels") },
  };
}

const after = (filled: Filled, finish: () => void): Filled =>
  isPending(filled) ? filled.then(finish) : finish();

function copyTo(target: BatchArray, values: Float64Array): void {
  if (isWide(target)) {
    for (let i = 0; i < values.length; i++) target[i] = BigInt(values[i] as number);
  } else target.set(values);
}

import type { Value } from "../graph/node.ts";
import { decodedNumbers } from "../onnx/small-types.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** The exponent's bits of the 16-bit types; all of them are set in NaN and Infinity alone. */
const halfExponents: Readonly<Record<string, number>> = { float16: 0x7c00, bfloat16: 0x7f80 };

/**
 * The first number of a tensor that nothing can be computed with, and its place: `NaN at [1, 3]`; undefined if all are finite.
 * Tensors of other types than float, double, float16 and bfloat16 have none.
 */
export function unusableNumber({ type, data, dims }: Tensor): string | undefined {
  const exponent = halfExponents[type];
  let index: number;
  if (exponent !== undefined && data instanceof Uint16Array) {
    index = data.findIndex((bits) => (bits & exponent) === exponent);
  } else if (data instanceof Float32Array || data instanceof Float64Array) {
    index = 0;
    // A plain loop, because whole states are looked through. ∞ − ∞ and NaN − NaN are not 0.
    while (index < data.length && (data[index] as number) - (data[index] as number) === 0) index++;
    if (index === data.length) return undefined;
  } else return undefined;
  if (index < 0) return undefined;
  const found = data.subarray(index, index + 1);
  const [number] = decodedNumbers(type, found, 1) ?? found;
  return `${number} at [${placeOf(index, dims).join(", ")}]`;
}

/** The first tensor of a state that holds NaN or Infinity, and where: `"w" holds NaN at [0, 3]`; undefined for a sound state. */
export function brokenNumber(state: ReadonlyMap<string, Tensor>): string | undefined {
  for (const [name, tensor] of state) {
    const found = unusableNumber(tensor);
    if (found) return `"${name}" holds ${found}`;
  }
  return undefined;
}

/** The first number of a tensor that is below 0, as no variance can be. */
export const negativeNumber = (tensor: Tensor): number | undefined =>
  tensor.numbers().find((number) => number < 0);

/**
 * Says which parameters and running statistics of a file hold numbers that nothing can be computed with. Looks at those that
 * are in memory: commands that only read or rewrite a file leave the weights of a large one, and of other files, unread.
 */
export function unusableText(
  values: readonly { readonly value: Value; readonly reason: string }[],
): string[] {
  return values.flatMap(({ value, reason }) => {
    const tensor = value.initializer;
    if (!tensor?.isInMemory) return [];
    const found =
      unusableNumber(tensor) ?? (reason.startsWith("running variance") ? negative(tensor) : undefined);
    return found ? [`"${value.name}" holds ${found}: what is computed with it is not defined`] : [];
  });
}

const negative = (tensor: Tensor): string | undefined => {
  const found = negativeNumber(tensor);
  return found === undefined ? undefined : `a variance below 0 (${found})`;
};

function placeOf(at: number, dims: readonly number[]): number[] {
  let rest = at;
  return [...dims]
    .reverse()
    .map((length) => {
      const index = rest % length;
      rest = (rest - index) / length;
      return index;
    })
    .reverse();
}

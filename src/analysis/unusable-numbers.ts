import type { Value } from "../graph/node.ts";
import type { Tensor } from "../onnx/tensor.ts";

/**
 * The first number of a tensor that nothing can be computed with, and its place: `NaN at [1, 3]`; undefined if all are finite.
 * Tensors of other types than float and double have none.
 */
export function unusableNumber({ data, dims }: Tensor): string | undefined {
  if (!(data instanceof Float32Array || data instanceof Float64Array)) return undefined;
  for (let at = 0; at < data.length; at++) {
    if (!Number.isFinite(data[at])) return `${data[at]} at [${placeOf(at, dims).join(", ")}]`;
  }
  return undefined;
}

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
  const found = tensor.numbers().find((number) => number < 0);
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

import { elementCount } from "../onnx/tensor.ts";
import { isWide } from "../onnx/tensor-data.ts";
import { type Column, type Dataset, datasetOfColumns, isPending } from "./dataset.ts";

/**
 * A dataset that decodes its samples once, for several readers of the same ones: what has come as a promise is kept, and given
 * again to a reader that asks for the same samples in the same order. Samples in memory are read where they lie.
 */
export function remembered(dataset: Dataset): Dataset {
  const { name, size, inputs, labels } = dataset;
  if (!inputs) return dataset;
  return datasetOfColumns(name, size, [...inputs.values()].map(rememberedColumn), labels);
}

function rememberedColumn(column: Column): Column {
  const width = elementCount(column.shape);
  let kept: { readonly asked: string; readonly values: Uint8Array | Float64Array } | undefined;
  return {
    ...column,
    fill(indices, target, pass) {
      // Samples change while training.
      if (pass || isWide(target)) return column.fill(indices, target, pass);
      const asked = Array.from(indices).join();
      if (kept?.asked === asked) {
        target.set(kept.values);
        return undefined;
      }
      const filled = column.fill(indices, target);
      if (!isPending(filled)) return undefined;
      return filled.then(() => {
        const values = target.subarray(0, indices.length * width);
        kept = { asked, values: column.bytes ? Uint8Array.from(values) : Float64Array.from(values) };
      });
    },
  };
}

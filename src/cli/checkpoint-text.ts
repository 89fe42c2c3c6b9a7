import type { OrtCheckpoint } from "../artifacts/checkpoint.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { formatTable } from "../report/table.ts";
import { visible } from "../visible.ts";

/** The content of a checkpoint file of ONNX Runtime's training API, as an object for JSON. */
export function checkpointReport({ parameters, frozen, optimizer, properties }: OrtCheckpoint): object {
  const described = ({ name, type, dims }: Tensor) => ({ name, type, shape: dims });
  return {
    kind: "checkpoint",
    parameters: parameters.map(described),
    frozen: frozen.map(described),
    ...(optimizer && {
      optimizer: {
        ...{ step: optimizer.step, learningRate: optimizer.learningRate },
        moments: Object.fromEntries(
          [...optimizer.momentums].map(([name, slots]) => [name, [...slots.keys()]]),
        ),
      },
    }),
    // JSON numbers are exact up to 2⁵³; larger integers become strings.
    properties: Object.fromEntries(
      [...properties].map(([name, value]) => [name, typeof value === "bigint" ? plainInteger(value) : value]),
    ),
  };
}

/** The content of a checkpoint file as text. */
export function checkpointText(
  path: string,
  checkpoint: OrtCheckpoint,
  paint: (text: string) => string,
): string {
  const { parameters, frozen, optimizer, properties } = checkpoint;
  const list = (title: string, rows: readonly (readonly string[])[]) =>
    rows.length === 0
      ? []
      : [
          formatTable(
            [{ heading: title }, { heading: "" }, { heading: "" }].slice(0, rows[0]?.length),
            rows.map((row) => row.map(visible)),
            paint,
          ),
        ];
  const rowsOf = (tensors: readonly Tensor[]) =>
    tensors.map(({ name, type, dims }) => [name, type, `[${dims.join(", ")}]`]);
  const state = optimizer
    ? `optimizer state after ${optimizer.step} updates, learning rate ${Number(optimizer.learningRate.toPrecision(7))}`
    : "no optimizer state";
  return [
    `${visible(path)}: a checkpoint of ONNX Runtime's training API, ${state}`,
    ...list("trained", rowsOf(parameters)),
    ...list("frozen", rowsOf(frozen)),
    ...list(
      "entries",
      [...properties].map(([name, value]) => [name, String(value)]),
    ),
  ].join("\n\n");
}

const plainInteger = (value: bigint): number | string =>
  Number.isSafeInteger(Number(value)) ? Number(value) : String(value);

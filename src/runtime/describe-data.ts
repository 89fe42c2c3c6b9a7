import type { Dataset } from "../data/dataset.ts";
import { eachRows } from "../data/dataset.ts";
import { fedColumns } from "../data/feeds.ts";
import { fitShape } from "../data/fit.ts";
import type { Normalization } from "../data/normalize.ts";
import { shapeText } from "../graph/shapes.ts";
import { type DataPorts, fedPorts } from "./batch-feeds.ts";

/**
 * One line about a dataset and how it is fed: "60,000 samples: uint8 [28, 28, 1] → float32 [1, 28, 28] ÷ 255, labels of 10
 * classes, 9.0–11.2 % each".
 */
export function describeData(
  dataset: Dataset,
  ports: DataPorts,
  {
    normalize,
    classes,
  }: { readonly normalize?: Normalization | undefined; readonly classes?: readonly string[] | undefined },
): string {
  const fed = fedColumns(fedPorts(ports), dataset).map(([port, column]) => {
    const kind = column.bytes ? "uint8" : column.type;
    const { shape } = fitShape(dataset.name, column.shape, port);
    const type = port.type === "float" ? "float32" : port.type;
    const name = ports.inputs.length > 1 ? `${port.name} ` : "";
    const scaled =
      column.bytes || typeof normalize === "object" ? scaling(normalize, column.bytes ?? false) : "";
    return `${name}${kind} ${shapeText(column.shape)} → ${type} ${shapeText(shape)}${scaled}`;
  });
  const parts = fed.length > 0 ? fed : [`${dataset.x.type} ${shapeText(dataset.x.shape)}`];
  const own = ports.labels?.own && dataset.y.type === "none";
  const labels = own ? ", labels made of the tokens" : labelText(dataset, classes);
  return `${dataset.size.toLocaleString("en-US")} samples: ${parts.join("; ")}${labels}`;
}

function scaling(normalize: Normalization | undefined, isBytes: boolean): string {
  if (normalize === "0..1") return " ÷ 255";
  if (typeof normalize !== "object") return "";
  const list = (values: readonly number[]) => values.map((value) => Number(value.toPrecision(4))).join("/");
  return `${isBytes ? " ÷ 255" : ""} − ${list(normalize.mean)}, ÷ ${list(normalize.std)}`;
}

function labelText(dataset: Dataset, names: readonly string[] | undefined): string {
  const { y, labels, size } = dataset;
  if (y.type === "none") return ", no labels";
  if (y.type === "float" || y.classes === undefined || !labels || y.shape.length > 0) {
    return `, targets ${y.type} ${shapeText(y.shape)}`;
  }
  const { least } = labels.range();
  if (least < 0 || y.classes > 100_000) return ", integer targets";
  const counts = new Array<number>(y.classes).fill(0);
  eachRows(labels, size, (values) => {
    for (const label of values) counts[label] = (counts[label] ?? 0) + 1;
  });
  const share = (count: number) => ((100 * count) / size).toFixed(1);
  const [fewest, most] = [Math.min(...counts), Math.max(...counts)];
  const listed = names && names.length <= 10 ? ` (${names.join(", ")})` : "";
  return `, labels of ${y.classes} classes${listed}, ${share(fewest)}–${share(most)} % each`;
}

import { countClasses } from "../data/class-weights.ts";
import type { Dataset } from "../data/dataset.ts";
import { fedColumns } from "../data/feeds.ts";
import { fitShape } from "../data/fit.ts";
import type { Normalization } from "../data/normalize.ts";
import { shapeText } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";
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
    const kind = column.dtype ?? (column.bytes ? "uint8" : column.type);
    const { shape } = fitShape(dataset.name, column.shape, port);
    const type = port.type === "float" ? "float32" : port.type;
    const name = ports.inputs.length > 1 ? `${port.name} ` : "";
    const before = column.scaled
      ? scaling({ mean: [column.scaled.mean], std: [column.scaled.std] }, true)
      : "";
    const after =
      column.bytes || typeof normalize === "object" ? scaling(normalize, column.bytes ?? false) : "";
    const scaled = `${before}${after}`;
    return `${name}${kind} ${shapeText(column.shape)} → ${type} ${shapeText(shape)}${scaled}`;
  });
  const parts = fed.length > 0 ? fed : [`${dataset.x.type} ${shapeText(dataset.x.shape)}`];
  const own = ports.labels?.own && dataset.y.type === "none";
  const ofLabels = own ? "labels made of the tokens" : labelText(dataset, classes);
  const labels = [ofLabels, ...targetTexts(dataset, ports)].filter((text) => text !== "");
  return `${dataset.size.toLocaleString("en-US")} samples: ${[parts.join("; "), ...(labels.length > 0 ? labels : ["no labels"])].join(", ")}`;
}

/** Arrays that losses read by name. */
const targetTexts = ({ inputs }: Dataset, { targets = [] }: DataPorts): string[] =>
  targets.flatMap((name) => {
    const column = inputs?.get(name);
    return column ? [`${name} ${column.type} ${shapeText(column.shape)}`] : [];
  });

function scaling(normalize: Normalization | undefined, isBytes: boolean): string {
  if (normalize === "0..1") return " ÷ 255";
  if (typeof normalize !== "object") return "";
  const list = (values: readonly number[]) => values.map((value) => Number(value.toPrecision(4))).join("/");
  return `${isBytes ? " ÷ 255" : ""} − ${list(normalize.mean)}, ÷ ${list(normalize.std)}`;
}

function labelText(dataset: Dataset, names: readonly string[] | undefined): string {
  const { y, labels, size } = dataset;
  if (y.type === "none") return "";
  const counts = classCounts(dataset);
  if (counts === "integers") return "integer targets";
  if (!counts) return `targets ${labels?.dtype ?? y.type} ${shapeText(y.shape)}`;
  const title = `${elementCount(y.shape) > 1 ? "one-hot " : ""}labels of ${counts.length === 1 ? "1 class" : `${counts.length} classes`}`;
  const listed = names && names.length <= 10 ? ` (${names.join(", ")})` : "";
  // Labels that come while a run trains.
  if (counts.every((count) => count === 0)) return `${title}${listed}`;
  const share = (count: number) => ((100 * count) / size).toFixed(1);
  const [fewest, most] = [Math.min(...counts), Math.max(...counts)];
  return `${title}${listed}, ${share(fewest)}–${share(most)} % each`;
}

/** Samples of each class; undefined for labels that are no classes, "integers" for whole numbers that are too many. */
function classCounts(dataset: Dataset): number[] | "integers" | undefined {
  const { y, labels } = dataset;
  if (!labels) return undefined;
  const width = elementCount(y.shape);
  if (width === 1 && y.classes !== undefined) {
    return labels.range().least < 0 || y.classes > 100_000 ? "integers" : countClasses(dataset, y.classes);
  }
  return y.shape.length === 1 ? countClasses(dataset, width, true) : undefined;
}

import type { AngleReport, LayerAngles, LayerResponseAngles, LayerWeightAngles } from "./angles.ts";
import { type Column, fixed, formatTable } from "./table.ts";

const right = (heading: string): Column => ({ heading, align: "right" });

const layerColumns: readonly Column[] = [{ heading: "layer" }, { heading: "op" }, right("units")];
const angleColumns: readonly Column[] = ["mean°", "spread°", "min°", "max°"].map(right);

const layerCells = ({ name, op, units, dead }: LayerAngles): string[] => [
  name,
  op,
  dead > 0 ? `${units} (${dead} dead)` : `${units}`,
];

const angleCells = ({ mean, spread, min, max }: LayerAngles): string[] =>
  [mean, spread, min, max].map((angle) => fixed(angle, 2));

/** Weight angles as a table: one line a layer, the spread beside that of random weights. */
export function weightAngleTable(
  { layers }: AngleReport<LayerWeightAngles>,
  paint?: (heading: string) => string,
): string {
  return formatTable(
    [...layerColumns, right("fan-in"), ...angleColumns, right("random°")],
    layers.map((layer) => [
      ...layerCells(layer),
      `${layer.fanIn}`,
      ...angleCells(layer),
      fixed(layer.random, 2),
    ]),
    paint,
  );
}

/** Response angles as a table: one line a layer. */
export function responseAngleTable(
  { layers }: AngleReport<LayerResponseAngles>,
  paint?: (heading: string) => string,
): string {
  return formatTable(
    [...layerColumns, right("rows"), ...angleColumns],
    layers.map((layer) => [...layerCells(layer), `${layer.rows}`, ...angleCells(layer)]),
    paint,
  );
}

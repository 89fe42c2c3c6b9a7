import type { AngleReport, LayerAngles, LayerWeightAngles } from "../measure/angle-report.ts";

/** Remarks that do not fit into a table: which units are dead or alike, and what was sampled, left out or not computed. */
export function angleRemarks({ layers, skipped }: AngleReport<LayerAngles | LayerWeightAngles>): string[] {
  return [
    ...layers.flatMap(layerRemarks),
    ...skipped.map(({ name, reason }) => `${name}: skipped, ${reason}`),
  ];
}

/** Most units that a remark names. */
const namedUnits = 10;

function layerRemarks(layer: LayerAngles | LayerWeightAngles): string[] {
  const { name, dead, deadUnits, duplicates, antiparallel, sampledUnits, units } = layer;
  const pairs = ({ count, first }: LayerAngles["duplicates"], what: string) => {
    if (count === 0) return [];
    const named = first.slice(0, namedUnits).map(([i, j]) => `${i}–${j}`);
    return [`${count} ${count === 1 ? "pair" : "pairs"} of units ${what} (${listed(named, count)})`];
  };
  const weight = "orthogonality" in layer ? layer : undefined;
  const parts = [
    ...(dead > 0
      ? [`${dead} dead ${dead === 1 ? "unit" : "units"} (${listed(deadUnits.slice(0, namedUnits), dead)})`]
      : []),
    ...pairs(duplicates, "alike"),
    ...pairs(antiparallel, "opposite"),
    ...(sampledUnits === undefined
      ? []
      : [`pairs of ${sampledUnits} of its ${units} units, drawn evenly; --full takes all`]),
    ...[weight?.spectrum, weight?.convolution].flatMap((part) =>
      part && "notComputed" in part ? [part.notComputed] : [],
    ),
    ...gridRemark(weight),
  ];
  return parts.map((part) => `${name}: ${part}`);
}

function gridRemark(layer: LayerWeightAngles | undefined): string[] {
  const found = layer?.convolution;
  if (!found || "notComputed" in found || `${found.grid}` === `${found.inputSize}`) return [];
  const [grid, size] = [found.grid.join("×"), found.inputSize.join("×")];
  return [`convolution worked out for an image of ${grid} instead of ${size}; --full takes the whole one`];
}

const listed = (items: readonly (string | number)[], count: number): string =>
  `${items.join(", ")}${count > items.length ? ", …" : ""}`;

import type { AngleReport, LayerAngles } from "../measure/angle-report.ts";

/** A report and the name of its model. */
export interface NamedReport<Report> {
  readonly model: string;
  readonly report: Report;
}

/** Layers of several models; layers of the same name are adjacent, in the order in which the names first appear. */
export function layersSideBySide<Layer extends LayerAngles>(
  reports: readonly NamedReport<AngleReport<Layer>>[],
): { readonly model: string; readonly layer: Layer }[] {
  const found = reports.flatMap(({ model, report }) => report.layers.map((layer) => ({ model, layer })));
  const names = new Set(found.map(({ layer }) => layer.name));
  return [...names].flatMap((name) => found.filter(({ layer }) => layer.name === name));
}

/**
 * Paths shortened to their distinguishing part: the file's name, with as many folders as necessary.
 *
 * @example
 * shortNames(["out/plain.onnx", "out/som.onnx"]); // ["plain.onnx", "som.onnx"]
 * shortNames(["a/model.onnx", "b/model.onnx"]); // ["a/model.onnx", "b/model.onnx"]
 */
export function shortNames(paths: readonly string[]): string[] {
  const parts = paths.map((path) => path.split(/[\\/]/).filter((part) => part !== ""));
  const ending = (path: readonly string[], length: number) => path.slice(-length).join("/");
  return parts.map((path, index) => {
    for (let length = 1; length < path.length; length++) {
      const name = ending(path, length);
      if (parts.every((other, i) => i === index || ending(other, length) !== name)) return name;
    }
    return paths[index] ?? "";
  });
}

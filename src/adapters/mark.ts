import { adaptersKey } from "../analysis/adapter-names.ts";
import { isListOf, isText, isWidth, unsealed } from "../block/mark.ts";
import { FileError, type SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { isRecord } from "../json.ts";
import type { LayerSettings } from "./kind.ts";
import type { Layer } from "./layer.ts";

/** An adapter beside one layer of a file. */
export interface MarkedLayer extends Layer {
  /** Name of its kind in the table of kinds. */
  readonly kind: string;
  readonly settings: LayerSettings;
  /** Names of its initializers, by their last part: `lora_A`, `lora_B`. */
  readonly parameters: Readonly<Record<string, string>>;
  /** What the layer's result without the adapter is called. */
  readonly base: string;
  /** For an adapter in front of the layer: what the layer's operator reads, by the values that it replaces. */
  readonly reads?: Readonly<Record<string, string>>;
}

/** The values that a layer's node reads or computes under other names beside its adapter: those by their own. */
export const renamedBy = ({
  reads,
  response,
  base,
}: Pick<MarkedLayer, "response" | "base"> & {
  readonly reads?: MarkedLayer["reads"] | undefined;
}): Readonly<Record<string, string>> => reads ?? { [response]: base };

/** A parameter of the base that is trained in full. */
export interface MarkedParameter {
  readonly name: string;
  /** Its name in the source, and whether the file stores its transpose. */
  readonly source: string;
  readonly transposed: boolean;
}

/** A file's record of its adapters: metadata_props["sorth.adapters"], as JSON. It suffices to take them out again. */
export interface Mark {
  readonly version: 1;
  readonly layers: readonly MarkedLayer[];
  /** Names of all parameters of adapters. */
  readonly parameters: readonly string[];
  /** Names of base parameters that are trained in full; `heads` has the same with more about them. */
  readonly trained: readonly string[];
  readonly heads: readonly MarkedParameter[];
  /** Other initializers that the adapters read. */
  readonly constants: readonly string[];
  /** Values that the adapters' nodes compute: the results of the layers among them. */
  readonly values: readonly string[];
  /** Those of the values that count as constants of a gradient (DoRA's norms); absent if there are none. */
  readonly detached?: readonly string[];
  readonly file: {
    /** Number of bytes that encoded the graph's length. */
    readonly graphLengthWidth: number;
    /** Original records of the nodes whose results were renamed; in file order, base64. */
    readonly replaced: readonly string[];
  };
}

/** The adapters of a graph; undefined if it has none. @throws SorthError if the record is damaged */
export function markOf({ metadata }: Pick<Graph, "metadata">): Mark | undefined {
  const text = metadata.get(adaptersKey);
  return text === undefined ? undefined : parseMark(text);
}

/** Reads a mark. @throws SorthError if it is damaged or from a later version */
function parseMark(text: string): Mark {
  const mark = unsealed(text, damagedMark);
  if (!isMark(mark)) throw damagedMark("a field is missing or of another type");
  return mark;
}

/** The error for a mark that does not fit its model. */
export const damagedMark = (reason: string): SorthError =>
  new FileError(
    `metadata_props["${adaptersKey}"] of the model is damaged (${reason}); add the adapters to the original again`,
  );

const areTexts = (value: unknown): boolean => isListOf(value, isText);

const isLayer = (layer: unknown): boolean =>
  isRecord(layer) &&
  ["name", "module", "form", "input", "product", "response", "type", "weight", "kind", "base"].every((key) =>
    isText(layer[key]),
  ) &&
  Array.isArray(layer.unit) &&
  typeof layer.units === "number" &&
  isRecord(layer.parameters) &&
  isRecord(layer.settings) &&
  (layer.reads === undefined || isRecord(layer.reads)) &&
  (isText(layer.stored) || isRecord(layer.stored));

function isMark(mark: Record<string, unknown>): mark is Record<string, unknown> & Mark {
  const { file, layers, heads } = mark;
  return (
    isListOf(layers, isLayer) &&
    isListOf(heads, (one) => isRecord(one) && isText(one.name) && isText(one.source)) &&
    [mark.parameters, mark.trained, mark.constants, mark.values, mark.detached ?? []].every(areTexts) &&
    isRecord(file) &&
    isWidth(file.graphLengthWidth) &&
    areTexts(file.replaced)
  );
}

import { hiddenValues, type InnerValue, innerValues as innerValuesOf } from "../analysis/inner-values.ts";
import { checkMatches, matchesAny } from "../analysis/name-patterns.ts";
import { declarationOf, openTypes } from "../analysis/open-types.ts";
import type { Probe } from "../analysis/probe.ts";
import { runtimeFaults } from "../analysis/runtime-faults.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { parseTaps, type TapsMark, tapsKey, tapsText } from "../block/taps-mark.ts";
import { listed, SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { metadataRecord, outputRecord } from "../graph/records.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, count } from "../numbers.ts";
import { decodeMetadataEntry } from "../onnx/codec.ts";
import { Model } from "../onnx/model.ts";
import { payloadOf, splice } from "../onnx/splice.ts";
import { type FieldRecord, modelFields } from "../onnx/wire.ts";

/** Options of `tap`. */
export interface TapOptions {
  /**
   * Values one of whose names matches: their own, that of the node or of the module that computes them, that of the layer's
   * weight or bias. Left out, `op` chooses.
   */
  readonly include?: RegExp;
  /** Values that are left out, by the same names. */
  readonly exclude?: RegExp;
  /** Only values computed by an operator whose type matches, such as `^Relu$`; outside the standard domain `com.microsoft.Gelu`. */
  readonly op?: RegExp;
  /** How many values may become outputs; default 1000. */
  readonly limit?: number;
  /** Receives remarks: what matched and was left out, and why. */
  readonly onMessage?: (message: string) => void;
}

const optionNames = {
  ...{ include: "pattern", exclude: "pattern", op: "pattern", limit: true, onMessage: "function" },
} as const satisfies OptionNames<TapOptions>;

/** A value that `tap` can make an output. */
export interface InnerValueInfo {
  readonly name: string;
  /** The operator that computes it. */
  readonly op: string;
  /** Every name that a pattern may match. */
  readonly names: readonly string[];
  /** Element type as ONNX Runtime infers it; undefined for a value that is no tensor. */
  readonly type: string | undefined;
  /** Lengths, names of free dimensions, or "?" for a length known only after running; undefined for an unknown rank. */
  readonly shape: readonly (number | string)[] | undefined;
  /** Whether it is an output of the model already. */
  readonly output: boolean;
}

const defaultLimit = 1000;

/** The command that lists the names of inner values. */
const lister = "sorth-onnx tap --list";

/** Makes inner values outputs. `Library.tap` documents it. */
export async function tap(model: Model, options: TapOptions, probe: Probe): Promise<Model> {
  checkKnown("tap", options, optionNames);
  const { limit = defaultLimit } = options;
  checkNumber("the limit", limit, count);
  const graph = graphOf(model);
  checkNoArtifact(graph);
  if (graph.outputs.length === 0)
    throw new SorthError("the model has no output: ONNX Runtime runs no such model");
  const chosen = chosenValues(graph, options);
  for (const fault of runtimeFaults(graph)) options.onMessage?.(fault);
  if (chosen.length > limit) {
    throw new UsageError(
      `${patternText(options)} matches ${chosen.length} values, above the limit of ${limit}: narrow it, or raise the limit (--limit ${chosen.length}); every output is copied at each run`,
    );
  }
  const values = chosen.map(({ value }) => value);
  const types = await openTypes(graph, probe, values);
  const tensors = values.filter((value) => types.has(value));
  const others = values.filter((value) => !types.has(value)).map(({ name }) => name);
  if (tensors.length === 0) throw new UsageError(`${listed(others)}: no tensor, which alone can be tapped`);
  if (others.length > 0) options.onMessage?.(`left out, because they are no tensors: ${listed(others)}`);
  const declarations = tensors.map((value) =>
    declarationOf(value.name, types.get(value) ?? { type: undefined, dims: undefined }),
  );
  return spliced(model, declarations);
}

/** Lists the values that can be tapped. `Library.innerValues` documents it. */
export async function innerValues(model: Model, probe: Probe): Promise<InnerValueInfo[]> {
  const graph = graphOf(model);
  checkNoArtifact(graph);
  const found = innerValuesOf(graph);
  const types = await openTypes(
    graph,
    probe,
    found.map(({ value }) => value),
  );
  return found.map(({ value, node, names }) => {
    const known = types.get(value);
    return {
      ...{ name: value.name, op: node.op, names, type: known?.type },
      shape: known?.dims?.map((dim) => dim ?? "?"),
      output: graph.outputs.includes(value),
    };
  });
}

/** The values that become outputs. @throws UsageError when there are none, with the reason */
function chosenValues(graph: Graph, options: TapOptions): InnerValue[] {
  const { include, exclude, op, onMessage } = options;
  if (!include && !op) {
    throw new UsageError(
      "say which inner values become outputs: --include PATTERN, or --op PATTERN (--list shows their names)",
    );
  }
  const all = innerValuesOf(graph);
  const known = all.map(({ names }) => names);
  if (exclude) checkMatches("--exclude", exclude, "inner value", known, lister);
  const matching = all.filter(
    ({ names, node }) =>
      (!include || matchesAny(include, names)) &&
      (!op || matchesAny(op, [node.op])) &&
      !(exclude && matchesAny(exclude, names)),
  );
  const outputs = new Set(graph.outputs);
  const chosen = matching.filter(({ value }) => !outputs.has(value));
  const hidden = include ? hiddenValues(graph, include) : [];
  const reason =
    hidden[0] &&
    hiddenText(
      hidden[0].place,
      hidden.map(({ name }) => name),
    );
  if (chosen.length > 0) {
    if (reason && !op) onMessage?.(`left out: ${reason}`);
    return chosen;
  }
  if (matching.length > 0) {
    const names = matching.map(({ value }) => value.name);
    throw new UsageError(
      `${patternText(options)} matches nothing but outputs of the model: ${listed(names)}`,
    );
  }
  if (reason) throw new SorthError(reason);
  if (include) checkInclude(graph, include, all);
  throw new UsageError(
    `no inner value matches ${patternText(options)}; the operators are ${[...new Set(all.map(({ node }) => node.op))].join(", ")}`,
  );
}

/** Why values in bodies cannot be outputs. */
const hiddenText = (place: string, names: readonly string[]): string =>
  `${listed([...new Set(names)])} ${names.length > 1 ? "are" : "is"} computed in ${place}, whose values exist only while it runs: name a value that it returns`;

/** @throws UsageError for a pattern that matches no value; the message says what the names are that it does match */
function checkInclude(graph: Graph, include: RegExp, all: readonly InnerValue[]): void {
  const others = [...graph.inputs, ...graph.initializers].filter(({ name }) => matchesAny(include, [name]));
  if (others.length > 0 && !all.some(({ names }) => matchesAny(include, names))) {
    throw new UsageError(
      `${include} matches ${listed(others.map(({ name }) => name))}, which no node computes: only outputs of nodes can be tapped`,
    );
  }
  checkMatches(
    "--include",
    include,
    "inner value",
    all.map(({ names }) => names),
    lister,
  );
}

const patternText = ({ include, exclude, op }: TapOptions): string =>
  [
    ...(include ? [`${include}`] : []),
    ...(op ? [`operator ${op}`] : []),
    ...(exclude ? [`without ${exclude}`] : []),
  ].join(", ");

/** The model's file with declarations of outputs at the end of its graph, and the mark that names them. */
function spliced(model: Model, declarations: readonly Value[]): Model {
  const { layout } = model;
  const found = layout.model.find(
    (record) =>
      record.field === modelFields.metadataProps &&
      decodeMetadataEntry(payloadOf(layout, record)).key === tapsKey,
  );
  const before = found && parseTaps(decodeMetadataEntry(payloadOf(layout, found)).value ?? "");
  const mark: TapsMark = {
    version: 1,
    outputs: [...(before?.outputs ?? []), ...declarations.map(({ name }) => name)],
    file: before?.file ?? { graphLengthWidth: layout.graphLengthWidth },
  };
  const record = metadataRecord(tapsKey, tapsText(mark));
  const pieces = splice(layout, {
    replace: new Map<FieldRecord, Uint8Array | null>(found ? [[found, record]] : []),
    appendToGraph: declarations.map(outputRecord),
    appendToModel: found ? [] : [record],
  });
  return Model.spliced(pieces, model);
}

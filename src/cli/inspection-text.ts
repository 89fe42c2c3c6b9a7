import { SorthError } from "../errors.ts";
import type { InspectedSite, InspectedValue, Inspection } from "../measure/inspect.ts";
import { adapterPenaltyNames } from "../penalties/adapters/table.ts";
import type { PenaltyDefinition, PenaltyOptions } from "../penalties/penalty.ts";
import { som } from "../penalties/som.ts";
import { penaltyDefinitions } from "../penalties/table.ts";
import { planText } from "../penalties/text.ts";
import { formatTable, type TableColumn } from "../report/table.ts";
import { visible } from "../visible.ts";

type Paint = (heading: string) => string;

const right = (heading: string): TableColumn => ({ heading, align: "right" });
const shapeText = (shape: readonly (number | string)[]): string => `[${shape.join(", ")}]`;
const valueText = ({ name, type, shape }: InspectedValue): string =>
  visible(`${name} ${type} ${shapeText(shape)}`);
const nameText = ({ name, source }: { readonly name: string; readonly source?: string }): string =>
  source === undefined ? name : `${name} (${source})`;
const kinds: Readonly<Record<Inspection["kind"], string>> = {
  model: "a model",
  injected: "a model with an injected penalty",
  "training-artifact": "an artifact of ONNX Runtime's training tools",
};

const artifactKinds = {
  training: "a training model",
  eval: "an eval model",
  optimizer: "an optimizer model",
  unknown: "an artifact",
} as const;

const kindText = ({ kind, artifact }: Inspection): string =>
  artifact ? `${artifactKinds[artifact.kind]} of ONNX Runtime's training tools` : kinds[kind];

/**
 * An inspection as text: the file, its layers, the skipped nodes with reasons, the parameters, and advice.
 * @param path - the file's name, for the first line
 * @param paint - styles the headings
 */
export function inspectionText(path: string, report: Inspection, paint: Paint): string {
  const { opset, irVersion, producer, nodes, inputs, outputs } = report;
  const facts = [
    `opset ${opset}`,
    `IR ${irVersion}`,
    `${nodes} nodes`,
    ...(producer ? [`by ${producer}`] : []),
  ];
  const sections = [
    [
      visible(`${path}: ${kindText(report)}, ${facts.join(", ")}`),
      ...inputs.map((value) => `input   ${valueText(value)}`),
      ...outputs.map((value) => `output  ${valueText(value)}`),
      ...(report.artifact?.loss === undefined ? [] : [visible(`loss    ${report.artifact.loss}`)]),
    ].join("\n"),
    siteTable(report, paint),
    penaltyLines(report),
    listOf(
      "skipped",
      report.skipped.map(({ name, op, reason }) => [name, op, reason]),
      paint,
    ),
    listOf(
      "trained",
      report.parameters.map((one) => [nameText(one), shapeText(one.shape), one.reason]),
      paint,
    ),
    listOf(
      "frozen",
      (report.artifact?.frozen ?? []).map(({ name, shape }) => [name, shapeText(shape)]),
      paint,
    ),
    listOf(
      "no gradient",
      Object.entries(report.artifact?.gradients ?? {}).flatMap(([name, gradient]) =>
        gradient === true ? [] : [[name, gradient]],
      ),
      paint,
    ),
    listOf(
      "not trained",
      report.constants.map((one) => [nameText(one), shapeText(one.shape), one.reason]),
      paint,
    ),
    listOf(
      "shared",
      report.shared.map(({ name, kind, reason }) => [name, kind, reason]),
      paint,
    ),
    report.advice.map((line) => visible(`advice: ${line}`)).join("\n"),
  ];
  return sections.filter((section) => section !== "").join("\n\n");
}

/** The model's injected penalties with options and weights; otherwise the penalty that inject would use by default. */
function penaltyLines({ block, sites }: Inspection): string {
  if (block) {
    return block.penalties
      .map(({ name, options, weight }) => {
        const known = penaltyDefinitions.find((definition) => definition.name === name);
        const penalty = { definition: known ?? ownDefinition(name, options), options };
        return `penalty  ${planText({ penalty, weight })}`;
      })
      .join("\n");
  }
  if (sites.length === 0) return "";
  const source = planText(som.preset("source"));
  const usual = `penalty  ${planText({ penalty: som() })} by default; som:preset=source is ${source}`;
  return `${usual}\n         ${adapterPenaltyNames.join(", ")} act on adapters alone (train --lora)`;
}

/** A definition for a penalty that this package does not know, so that all its options are shown. */
const ownDefinition = (name: string, options: PenaltyOptions): PenaltyDefinition<PenaltyOptions> => ({
  ...{ name, defaults: {}, on: "responses" as const, said: Object.keys(options) },
  build: () => {
    throw new SorthError(`the penalty ${name} is unknown to this package and cannot be built`);
  },
});

function siteTable({ sites, probedBatch }: Inspection, paint: Paint): string {
  if (sites.length === 0) return "";
  const rows = probedBatch === undefined ? "rows" : `rows (batch ${probedBatch})`;
  return formatTable(
    [
      ...[
        { heading: "layer" },
        { heading: "op" },
        right("units"),
        right("fan-in"),
        right("groups"),
        right(rows),
      ],
      ...[{ heading: "weight" }, { heading: "penalties" }],
    ],
    sites.map((site) =>
      [
        ...[
          site.name,
          site.op,
          `${site.units}`,
          `${site.fanIn}`,
          `${site.groups}`,
          site.rows === undefined ? "?" : `${site.rows}`,
        ],
        ...[site.weight, penaltiesText(site)],
      ].map(visible),
    ),
    paint,
  );
}

/** `all`, or `all but ocnn (it is a Gemm; ocnn takes Conv)`; groups names with the same reason. */
function penaltiesText({ penalties }: InspectedSite): string {
  const byReason = new Map<string, string[]>();
  for (const [name, applies] of Object.entries(penalties)) {
    if (applies === true) continue;
    byReason.set(applies, [...(byReason.get(applies) ?? []), name]);
  }
  if (byReason.size === 0) return "all";
  const excepted = [...byReason].map(([reason, names]) => `${names.join(", ")} (${reason})`);
  return `all but ${excepted.join(", ")}`;
}

function listOf(title: string, rows: readonly (readonly string[])[], paint: Paint): string {
  const [first] = rows;
  if (!first) return "";
  return formatTable(
    first.map((_, index) => ({ heading: index === 0 ? title : "" })),
    rows.map((row) => row.map(visible)),
    paint,
  );
}

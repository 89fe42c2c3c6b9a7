import type { Command } from "commander";
import { type Inspection, inspect, readModel } from "../../index.ts";
import { formatTable } from "../../report/table.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "../dimension-flags.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, DimensionFlags {
  readonly json?: true;
}

/** `inspect`: says what the tool sees in a model. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model").option("--json", "the whole report for machines");
  addDimensionFlags(command, "batch size to show rows for, where the model leaves it open");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const report = await inspect(await readModel(path), dimensionsOf(flags));
    if (flags.json) terminal.json(report);
    else for (const line of linesOf(path, report, terminal.colors.dim)) terminal.print(line);
  });
}

function* linesOf(path: string, report: Inspection, paint: (heading: string) => string): Generator<string> {
  const kinds = { model: "model", injected: "injected model", "training-artifact": "training artifact" };
  yield `${path}: ${kinds[report.kind]}, opset ${report.opset}, IR ${report.irVersion}, ${report.nodes} nodes${report.producer && `, by ${report.producer}`}`;
  for (const [what, values] of [
    ["input", report.inputs],
    ["output", report.outputs],
  ] as const) {
    for (const { name, type, shape } of values) yield `${what} ${name}: ${type}[${shape.join(", ")}]`;
  }
  if (report.sites.length > 0) {
    const batch = report.probedBatch === undefined ? "rows" : `rows at batch ${report.probedBatch}`;
    yield "";
    yield formatTable(
      [
        { heading: "layer" },
        { heading: "operator" },
        { heading: "units", align: "right" },
        { heading: "fan-in", align: "right" },
        { heading: "groups", align: "right" },
        { heading: batch, align: "right" },
        { heading: "penalties" },
      ],
      report.sites.map((site) => [
        ...[
          site.name,
          site.op,
          String(site.units),
          String(site.fanIn),
          String(site.groups),
          String(site.rows),
        ],
        Object.entries(site.penalties)
          .map(([name, applies]) => (applies === true ? name : `not ${name}: ${applies}`))
          .join(", "),
      ]),
      paint,
    );
  }
  if (report.skipped.length > 0) yield "";
  for (const { name, op, reason } of report.skipped) yield `no penalty on ${op} ${name}: ${reason}`;
  yield "";
  yield `trained: ${report.parameters.map(({ name }) => name).join(", ") || "nothing"}`;
  for (const { name, reason } of report.constants) yield `not trained: ${name} (${reason})`;
  for (const { name, reason } of report.shared) yield `split for training: ${name} (${reason})`;
  for (const line of report.advice) yield `advice: ${line}`;
}

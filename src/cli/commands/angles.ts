import type { Command } from "commander";
import { fedInputs } from "../../analysis/dimensions.ts";
import { drawn } from "../../data/batches.ts";
import { conversionOf, type DataConversion } from "../../data/conversion.ts";
import type { Dataset } from "../../data/dataset.ts";
import { wantedInputs } from "../../data/model-inputs.ts";
import { remembered } from "../../data/remembered.ts";
import { UsageError } from "../../errors.ts";
import { graphOf } from "../../graph/model-graph.ts";
import {
  angleReportPage,
  type Model,
  pictures,
  readModel,
  responseAngles,
  sampleFeeds,
  weightAngles,
} from "../../index.ts";
import type { AngleReport, LayerAngles } from "../../measure/angle-report.ts";
import { positive } from "../../numbers.ts";
import { writeFileSafely } from "../../onnx/write-file.ts";
import { angleCsv, type ModelAngles } from "../../report/angle-csv.ts";
import { angleRemarks } from "../../report/angle-remarks.ts";
import { type AngleTable, responseAngleTable, weightAngleTable } from "../../report/angle-table.ts";
import { shortNames } from "../../report/side-by-side.ts";
import { addDataFlags, checkHasData, type DataFlags } from "../data-flags.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "../dimension-flags.ts";
import { given, numberIn, positiveInteger, typedOptions } from "../options.ts";
import { checkOutput } from "../output.ts";
import { type ReadData, readData } from "../read-data.ts";
import { recordBeside } from "../run-report.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, DimensionFlags, DataFlags {
  readonly data?: string;
  readonly samples: number;
  readonly gamma?: number;
  readonly full?: true;
  readonly html?: string;
  readonly json?: true;
  readonly csv?: true;
}

/** Default number of samples on which responses are measured. */
const defaultSamples = 512;

/** `angles`: measures the angles between the units of each layer. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .argument("<models...>", "one or more ONNX models; layers of the same name are shown side by side")
    .option("--data <source>", "measure response angles too, on this data: mnist or an .npz file")
    .option(
      "--samples <count>",
      "number of samples for response angles, drawn with a fixed seed",
      positiveInteger,
      defaultSamples,
    )
    .option("--gamma <number>", "steepness of tanh(γ·response) (default: 10)", numberIn(positive))
    .option("--full", "compute all pairs of units and all spectra, even if that takes long")
    .option("--html <file>", "also write a page with histograms, heat maps and spectra")
    .option("--json", "print all figures as JSON")
    .option("--csv", "print one line per layer and model, for spreadsheets");
  const dataFlags = addDataFlags(command);
  addDimensionFlags(command, "batch size for running the model, if the model leaves it open");
  command.action(async (paths: string[], flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const ofResponses = typedOptions(command, ["samples", "gamma"]);
    if (flags.data === undefined && ofResponses.length > 0) {
      throw new UsageError(
        `response angles need --data: give it, or leave out ${ofResponses.map(({ long }) => long).join(" and ")}`,
      );
    }
    checkHasData(command, dataFlags, "angles of weights need none");
    if (flags.json && flags.csv) throw new UsageError("give --json or --csv, not both");
    if (flags.html !== undefined) await checkOutput(flags.html, terminal.write, "--html");
    const models = await measure(paths, flags, terminal).finally(() => terminal.status());
    if (flags.html !== undefined) await writePage(flags.html, models, flags, terminal);
    if (flags.json) terminal.json(models.map(withoutPictures));
    else if (flags.csv) streams.stdout.write(angleCsv(models));
    else printTables(models, flags, terminal);
  });
}

/** The inputs of a model for data, as text. */
const inputsOf = (model: Model): string => JSON.stringify(wantedInputs(model));

/** Reads the data of models: once for all those that take the same inputs and convert data alike. */
function dataReader(source: string, models: number, terminal: Terminal, flags: Flags) {
  const known = new Map<string, Promise<{ data: ReadData; samples: Dataset }>>();
  return (model: Model, conversion: DataConversion | undefined) => {
    const types = fedInputs(graphOf(model)).map(({ name, type }) => [name, type]);
    // How the model was trained decides on no number of the data.
    const { summary: _, objective: __, loss: ___, ownLoss: ____, ...how } = conversion ?? {};
    const key = JSON.stringify([types, wantedInputs(model), conversion && how]);
    const read = async () => {
      const data = await readData(source, terminal, flags, { model, conversion, measures: true });
      const samples = drawn(data.test ?? data.train, flags.samples);
      return { data, samples: models > 1 ? remembered(samples) : samples };
    };
    const found = known.get(key) ?? read();
    known.set(key, found);
    return found;
  };
}

/** How the first model that says so converts its data: a model before its training, which says nothing, gets the same numbers. */
async function recordedBy(
  paths: readonly string[],
): Promise<{ readonly inputs: string; readonly conversion: DataConversion } | undefined> {
  for (const path of paths) {
    const model = await readModel(path);
    const conversion = conversionOf(model);
    if (conversion) return { inputs: inputsOf(model), conversion };
  }
  return undefined;
}

async function measure(paths: readonly string[], flags: Flags, terminal: Terminal): Promise<ModelAngles[]> {
  const found: ModelAngles[] = [];
  const recorded = flags.data === undefined || paths.length < 2 ? undefined : await recordedBy(paths);
  const dataFor =
    flags.data === undefined ? undefined : dataReader(flags.data, paths.length, terminal, flags);
  for (const path of paths) {
    const model = await readModel(path);
    const common = {
      ...given({ full: flags.full }),
      ...(flags.html !== undefined && pictures),
      onLayer: (layer: string) => terminal.status(`${path}: ${layer}`),
    };
    const weights = await weightAngles(model, { ...dimensionsOf(flags), ...common });
    const isAlike = recorded !== undefined && inputsOf(model) === recorded.inputs;
    const conversion = conversionOf(model) ?? (isAlike ? recorded.conversion : undefined);
    const { data, samples } = (await dataFor?.(model, conversion)) ?? {};
    const onMessage = (message: string) => terminal.note(paths.length > 1 ? `${path}: ${message}` : message);
    const options = { normalize: data?.normalize, onMessage };
    const responses =
      samples &&
      (await responseAngles(model, await sampleFeeds(model, samples, flags.samples, options), {
        ...given({ gamma: flags.gamma, batch: flags.batch }),
        ...common,
      }));
    found.push({ model: path, weights, ...(responses && { responses }) });
  }
  return found;
}

/** The figures without the data for pictures, so that they are the same with and without --html. */
function withoutPictures({ model, weights, responses }: ModelAngles): ModelAngles {
  const figures = <Layer extends LayerAngles>({ layers, skipped }: AngleReport<Layer>) => ({
    layers: layers.map(({ distribution: _, cosineMap: __, ...layer }) => layer as Layer),
    skipped,
  });
  return { model, weights: figures(weights), ...(responses && { responses: figures(responses) }) };
}

/** Writes the page, with the record of the run that trained a model if that lies in its folder. */
async function writePage(
  path: string,
  models: readonly ModelAngles[],
  { data, samples, gamma = 10 }: Flags,
  terminal: Terminal,
): Promise<void> {
  const withRuns = await Promise.all(
    models.map(async (model) => {
      const run = await recordBeside(model.model);
      return { ...model, ...(run && { run }) };
    }),
  );
  const page = await angleReportPage(
    withRuns,
    data === undefined ? {} : { data: `${data} (up to ${samples} samples, γ = ${gamma})` },
  );
  await writeFileSafely(path, page, terminal.write);
  terminal.note(`page: ${path}`);
}

function printTables(models: readonly ModelAngles[], { data }: Flags, terminal: Terminal): void {
  const names = shortNames(models.map(({ model }) => model));
  const options = { width: terminal.width, paint: terminal.colors.bold };
  const print = (title: string, { text, leftOut }: AngleTable, remarks: readonly string[]) => {
    terminal.print(`${title}\n${text}`);
    for (const remark of remarks) terminal.print(remark);
    if (leftOut.length > 0) {
      terminal.note(`left out for want of width: ${leftOut.join(", ")} (--csv and --json have everything)`);
    }
  };
  print(
    `weight angles of ${models.map(({ model }) => model).join(", ")} (90° is orthogonal)`,
    weightAngleTable(
      models.map(({ weights }, index) => ({ model: names[index] ?? "", report: weights })),
      options,
    ),
    models.flatMap(({ weights }, index) => labelled(angleRemarks(weights), names, index)),
  );
  const responses = models.flatMap(({ responses }, index) =>
    responses ? [{ model: names[index] ?? "", report: responses, index }] : [],
  );
  if (responses.length === 0) return;
  print(
    `\nresponse angles on ${data}`,
    responseAngleTable(responses, options),
    responses.flatMap(({ report, index }) => labelled(angleRemarks(report), names, index)),
  );
}

/** Remarks, prefixed with the model's name if there are several models. */
function labelled(remarks: readonly string[], names: readonly string[], index: number): string[] {
  return remarks.map((remark) => (names.length > 1 ? `${names[index]}: ${remark}` : remark));
}

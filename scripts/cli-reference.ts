import type { Argument, Command, Option } from "commander";
import { commandExamples } from "../src/cli/examples.ts";
import { wholeProgram } from "../src/cli/program.ts";
import { objectiveSummaries } from "../src/losses/summaries.ts";
import { objectiveNames } from "../src/losses/table.ts";
import { objectiveForm } from "../src/losses/text.ts";
import { optimizerFactories } from "../src/optimizers/table.ts";
import { defaultsText } from "../src/optimizers/text.ts";
import { allPenaltyDefinitions } from "../src/penalties/adapters/table.ts";
import { scheduleEntries, scheduleForm } from "../src/schedules/table.ts";

const heading = `# The command line

Every command, its arguments and its flags, generated from the program by \`npm run docs:cli\`.

Results go to stdout, progress and remarks to stderr. Exit code 0: done, 1: failed, 2: wrong usage. An error is one line that says what is wrong,
where, and what to do.

**Patterns** (\`--include\`, \`--exclude\`, \`--trainable\`, \`--freeze\`, \`--tie\`, \`--untie\`, \`--wrt\`) are regular expressions. A pattern that matches nothing is an error
that lists the nearest names.

**Schedules** (\`--schedule\`, \`--penalty-schedule\`, \`schedule=\` of a penalty) are a name and options from the [list](#schedules): \`cosine:warmup=100,floor=0.1\` rises over the
first 100 steps and falls to a tenth at the last. Lengths are numbers of steps, epochs (\`warmup=2ep\`) or shares of the run (\`warmup=10%\`).
`;

/** Flags that are described once: those of every command, and of every command that writes files. */
const shared: ReadonlySet<string> = new Set(["--force", "--quiet", "--debug"]);

/** The reference of the command line, as Markdown. */
export async function cliReference(): Promise<string> {
  const nowhere = { write: () => undefined };
  const { commands } = await wholeProgram({ stdout: nowhere, stderr: nowhere });
  const sections = commands.map(sectionOf);
  const options = new Map(
    commands.flatMap((command) => command.options.map((option) => [option.long, option])),
  );
  const common = [...shared].flatMap((flag) => options.get(flag) ?? []);
  return [
    heading,
    "Every command has these flags, except `--force`: `inspect`, `verify` and `demo` write no files and refuse it.",
    "",
    ...table(common.map(flagRow)),
    "",
    ...sections.flat(),
    ...objectiveOptions(),
    ...penaltyOptions(),
    ...optimizerOptions(),
    ...scheduleOptions(),
  ].join("\n");
}

function sectionOf(command: Command): string[] {
  const own = command.options.filter(({ long, hidden }) => !hidden && !shared.has(long ?? ""));
  const examples = (commandExamples[command.name()] ?? []).map(
    ({ line, does }) => `    ${line.padEnd(60)} # ${does}`,
  );
  return [
    `## ${command.name()}`,
    "",
    `${command.description()} \`${command.name()} ${command.usage()}\``,
    "",
    ...examples,
    "",
    ...table([...command.registeredArguments.map(argumentRow), ...own.map(flagRow)]),
    "",
  ];
}

/** The options that `--objective name:option=value` takes. */
function objectiveOptions(): string[] {
  const rows = objectiveNames.map((name) => {
    const [, options = ""] = objectiveForm(name).split(/:(.*)/);
    const texts = options === "" ? [] : options.split(",").map((text) => `\`${text}\``);
    return [`\`${name}\``, objectiveSummaries[name] ?? "", texts.join(", ")];
  });
  return [
    "## Losses",
    "",
    "Options are written behind the name, values with commas in quotes: `--objective \"cross-entropy:label-smoothing=0.1,class-weights='1,5,2.5'\"`.",
    "",
    ...table(rows, ["loss", "what it compares", "options and defaults"]),
    "",
  ];
}

/** The options that `--penalty name:option=value` takes. */
function penaltyOptions(): string[] {
  const rows = allPenaltyDefinitions.map(({ name, weight = 1, defaults }) => [
    `\`${name}\``,
    [`weight=${weight}`, ...Object.entries(defaults).map(([option, value]) => `${option}=${value}`)]
      .map((text) => `\`${text}\``)
      .join(", "),
  ]);
  return [
    "## Options of penalties",
    "",
    "Written behind the name: `--penalty som:gamma=5,include=fc1,weight=0.1`. Each also takes `include`, `exclude` and `schedule`. Formulas and sources: [penalties.md](penalties.md).",
    "",
    ...table(rows, ["penalty", "options and defaults"]),
    "",
  ];
}

/** The options that `--optimizer name:option=value` takes. */
function optimizerOptions(): string[] {
  const rows = optimizerFactories.map(({ definition }) => [
    `\`${definition.name}\``,
    definition.summary,
    defaultsText(definition)
      .map((text) => `\`${text}\``)
      .join(", "),
  ]);
  return [
    "## Optimizers",
    "",
    "Options are written behind the name: `--optimizer adamw:beta1=0.8,weight-decay=0.05`.",
    "",
    ...table(rows, ["optimizer", "what it is", "options and defaults"]),
    "",
  ];
}

/** The options that `--schedule name:option=value` takes. */
function scheduleOptions(): string[] {
  const rows = scheduleEntries.map((entry) => {
    const [, options = ""] = scheduleForm(entry).split(/:(.*)/);
    const texts = options === "" ? [] : options.split(",").map((text) => `\`${text}\``);
    return [`\`${entry.name}\``, entry.summary, texts.join(", ")];
  });
  return [
    "## Schedules",
    "",
    "Options are written behind the name: `--schedule cosine:warmup=100`; those without a default (…) have to be given. Lengths (`warmup`, `steps`, `period`, `every`, `at`) are numbers of steps, epochs (`2ep`) or shares of the run (`10%`).",
    "",
    ...table(rows, [
      "schedule",
      "factor of the learning rate, or of the penalty's weight",
      "options and defaults",
    ]),
    "",
  ];
}

const argumentRow = (argument: Argument) => [
  `\`${argument.required ? "<" : "["}${argument.name()}${argument.variadic ? "..." : ""}${argument.required ? ">" : "]"}\``,
  inCell(argument.description),
];

function flagRow({ flags, description, defaultValue, argChoices }: Option): string[] {
  const choices = argChoices ? ` One of ${argChoices.map((choice) => `\`${choice}\``).join(", ")}.` : "";
  const standard =
    typeof defaultValue === "string" || typeof defaultValue === "number"
      ? ` Default: \`${defaultValue}\`.`
      : "";
  return [`\`${flags}\``, inCell(`${description}.${choices}${standard}`)];
}

function table(
  rows: readonly (readonly string[])[],
  header = ["argument or flag", "what it does"],
): string[] {
  return [header, header.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`);
}

/** Escapes text for a table cell: a pipe would end the cell, and a word in angle brackets would count as HTML. */
const inCell = (text: string) => text.replace(/\|/g, "\\|").replace(/</g, "&lt;").replace(/>/g, "&gt;");

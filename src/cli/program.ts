import { Command, CommanderError } from "commander";
import manifest from "../../package.json" with { type: "json" };
import { FileError, messageOf, RuntimeError, SorthError, UsageError } from "../errors.ts";
import { reasonOf } from "../onnx/write-file.ts";
import { withoutOptions } from "../told-options.ts";
import { visible, visibleLines } from "../visible.ts";
import { examplesText } from "./examples.ts";
import { refuseRepeated } from "./given-once.ts";
import type { CommandStreams } from "./terminal.ts";

/** The module of a command, which declares its arguments, flags and action. */
interface CommandModule {
  /** @param typed - the arguments typed after the command's name */
  readonly define: (command: Command, streams: CommandStreams, typed: readonly string[]) => void;
}

interface KnownCommand {
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
  /** Whether it writes files (default true), so that --force has a meaning. */
  readonly writes?: false;
}

/** The commands. Only the module of the called command is loaded. */
const commands: Readonly<Record<string, KnownCommand>> = {
  inspect: {
    summary: "show the layers a penalty can act on, what is skipped and why, and advice",
    load: () => import("./commands/inspect.ts"),
    writes: false,
  },
  inject: {
    summary: "add an orthogonality penalty to a model, as one more output or in its loss",
    load: () => import("./commands/inject.ts"),
  },
  strip: {
    summary: "take the penalty and tapped outputs out again: the original file, byte for byte",
    load: () => import("./commands/strip.ts"),
  },
  verify: {
    summary: "check an injected model against its original",
    load: () => import("./commands/verify.ts"),
    writes: false,
  },
  head: {
    summary: "give a classifier new classes: a fresh last layer, and everything else as it is",
    load: () => import("./commands/head.ts"),
  },
  "free-batch": {
    summary: "let a model take any number of samples whose exporter fixed its batch at 1",
    load: () => import("./commands/free-batch.ts"),
  },
  merge: {
    summary: "fold adapters, of train --lora or of PEFT, into the weights of a model",
    load: () => import("./commands/merge.ts"),
  },
  tap: {
    summary: "make inner values of a model outputs, so that a run shows them",
    load: () => import("./commands/tap.ts"),
  },
  grad: {
    summary: "write a model that computes the gradient of a loss, or products with a Jacobian",
    load: () => import("./commands/grad.ts"),
  },
  step: {
    summary: "write a training step as a graph, for a loop of your own",
    load: () => import("./commands/step.ts"),
  },
  artifacts: {
    summary: "write the artifacts that ONNX Runtime's own training sessions load",
    load: () => import("./commands/artifacts.ts"),
  },
  train: {
    summary: "train a model, with or without a penalty",
    load: () => import("./commands/train.ts"),
  },
  distribute: {
    summary: "write a run for several processes, machines or GPUs, which train in Python",
    load: () => import("./commands/distribute.ts"),
  },
  "find-lr": {
    summary:
      "look for a learning rate: train a copy of a model with rising rates, and see where the loss falls",
    load: () => import("./commands/find-lr.ts"),
  },
  export: {
    summary: "write the trained model of a run from its checkpoint folder",
    load: () => import("./commands/export.ts"),
  },
  evaluate: {
    summary: "compute loss, accuracy and further figures of a model on data",
    load: () => import("./commands/evaluate.ts"),
  },
  predict: {
    summary: "write a model's answer for every sample of data",
    load: () => import("./commands/predict.ts"),
  },
  angles: {
    summary: "measure the angles between the units of each layer",
    load: () => import("./commands/angles.ts"),
  },
  bench: {
    summary: "time a training step with and without penalty on every backend that is here",
    load: () => import("./commands/bench.ts"),
    writes: false,
  },
  demo: {
    summary: "serve a page that trains a model, plain and with SOM, and shows both",
    load: () => import("./commands/demo.ts"),
    writes: false,
  },
};

/**
 * The command line. Commands that `wanted` accepts are defined in full, the others only by name and summary.
 * @param argv - arguments after the program's name
 */
async function programWith(
  wanted: (name: string) => boolean,
  streams: CommandStreams,
  argv: readonly string[],
): Promise<Command> {
  const program = new Command("sorth-onnx")
    .description(
      "Orthogonality regularization for ONNX models, and training of those models on ONNX Runtime.",
    )
    .version(manifest.version);
  for (const [name, { summary, load, writes = true }] of Object.entries(commands)) {
    const command = program.command(name).summary(summary).description(sentence(summary));
    if (!wanted(name)) continue;
    (await load()).define(command, streams, argv.slice(argv.indexOf(name) + 1));
    if (writes) command.option("--force", "replace files that exist");
    command
      .option(
        "--config <file>",
        "a .yaml or .json file with flags, as in `epochs: 3`; flags of the command line override it",
      )
      .option("--quiet", "no progress and no remarks")
      .option("--debug", "show where an error was thrown")
      .addHelpText("after", examplesText(name));
    refuseRepeated(command);
  }
  return program;
}

/** The command line with every command, its arguments and flags, for a reference. */
export function wholeProgram(streams: CommandStreams): Promise<Command> {
  return programWith(() => true, streams, []);
}

/**
 * Runs the command line and returns its exit code: 0 success, 1 failure, 2 wrong usage.
 * @param typed - arguments after the program's name
 *
 * @example
 * await run(["inspect", "model.onnx", "--json"], { stdout: process.stdout, stderr: process.stderr });
 */
export async function run(typed: readonly string[], streams: CommandStreams): Promise<0 | 1 | 2> {
  const called = typed.find((argument) => !argument.startsWith("-"));
  const isWanted = (name: string) => name === called || called === "help";
  let argv = typed;
  try {
    argv = await configured(typed, called, () => programWith(isWanted, streams, typed));
  } catch (error) {
    return report(error, typed.includes("--debug"), streams);
  }
  try {
    // The file of the command may not open.
    const program = await programWith(isWanted, streams, argv);
    for (const command of [program, ...program.commands]) {
      const help = `see ${command === program ? "" : "sorth-onnx "}${command.name()} --help`;
      command.exitOverride().configureOutput({
        writeOut: (text) => streams.stdout.write(text),
        writeErr: (text) => streams.stderr.write(text),
        outputError: (text, write) => write(`${visible(text.trim().replace(/\s*\n\s*/g, " "))} (${help})\n`),
      });
    }
    if (argv.length === 0) throw new UsageError("no command given; sorth-onnx --help lists them");
    // `help` for an unknown command gives the same error as that command itself.
    const isUnknown = argv[0] === "help" && argv[1] !== undefined && !Object.hasOwn(commands, argv[1]);
    await program.parseAsync(isUnknown ? argv.slice(1) : argv, { from: "user" });
    return 0;
  } catch (error) {
    return report(error, argv.includes("--debug"), streams);
  }
}

/** The arguments with those of `--config` in its place. */
async function configured(
  argv: readonly string[],
  called: string | undefined,
  program: () => Promise<Command>,
): Promise<readonly string[]> {
  if (called === undefined || !argv.some((word) => /^--config(=|$)/.test(word))) return argv;
  const command = (await program()).commands.find((one) => one.name() === called);
  if (!command) return argv;
  const at = argv.indexOf(called) + 1;
  const { withConfig } = await import("./config/flags.ts");
  try {
    return [...argv.slice(0, at), ...withConfig(command, argv.slice(at))];
  } catch (error) {
    // If the command line itself is wrong, parsing it again reports the error.
    if (error instanceof CommanderError) return argv;
    throw error;
  }
}

/** Prints an error in one line and returns the exit code. */
function report(thrown: unknown, debug: boolean, { stderr }: CommandStreams): 0 | 1 | 2 {
  // Commander has already printed the error, the help or the version.
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : 2;
  const error = ofTheSystem(thrown) ?? thrown;
  const known = error instanceof SorthError;
  const line = visible(withoutOptions(messageOf(error)).replace(/\s*\n\s*/g, " "));
  stderr.write(known ? `error: ${line}\n` : `unexpected error: ${line} (run with --debug to see where)\n`);
  if (debug && thrown instanceof Error) stderr.write(`${visibleLines(`${thrown.stack}`)}\n`);
  return known ? error.exitCode : 1;
}

/** The engine's words for an array that is larger than arrays can be, or than the memory that is free. */
const tooLarge = /^(Invalid typed array length: \d|Invalid array length$|Array buffer allocation failed)/;

/**
 * Turns an error of the system into one for the user: Ctrl-C, a full disk, a folder that was removed, a permission that is missing, sizes for
 * which there is no memory.
 */
function ofTheSystem(error: unknown): SorthError | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof RangeError && tooLarge.test(error.message)) {
    return new RuntimeError(
      `the model's sizes need an array larger than this machine can hold (${error.message}): use smaller ones (--batch, --dim), or export the model with smaller or free dimensions`,
      { cause: error },
    );
  }
  if (error.name === "AbortError")
    return new RuntimeError("stopped before the end, without a result", { cause: error });
  const { code, syscall, path }: NodeJS.ErrnoException = error;
  if (code === undefined || syscall === undefined) return undefined;
  if (syscall === "uv_cwd") {
    return new FileError("the current folder was deleted; change to another one", { cause: error });
  }
  const place = path === undefined ? "a file" : `"${path}"`;
  return new FileError(`cannot use ${place}: ${reasonOf(error)}`, { cause: error });
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

import { stat } from "node:fs/promises";
import pc from "picocolors";
import { formatBytes } from "../report/byte-count.ts";
import { withoutOptions } from "../told-options.ts";
import { visible, visibleLines } from "../visible.ts";

/** Words longer than any path lose their middle: names in a file may have millions of characters. */
const withoutLongWords = (text: string): string =>
  text.replace(/\S{4097,}/g, (word) => `${word.slice(0, 1400)}…${word.slice(-590)}`);

/** The streams to which a command writes: those of the process, or buffers in tests. */
export interface CommandStreams {
  /** Results. */
  readonly stdout: OutputStream;
  /** Progress, remarks and errors. */
  readonly stderr: OutputStream;
  /** Called by a command that can stop early. Its signal aborts at the first Ctrl-C; a second one quits immediately. */
  readonly onInterrupt?: () => AbortSignal;
}

/** The part of a stream that commands use. */
interface OutputStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  /** Width of the terminal in characters. */
  readonly columns?: number;
}

/** Flags of every command. */
export interface SharedFlags {
  /** Replace files that exist; only for commands that write some. */
  readonly force?: true;
  /** Show where an error was thrown. */
  readonly debug?: true;
  /** Print only errors and results. */
  readonly quiet?: true;
}

/** The output of a command: results on stdout, everything else on stderr. */
export class Terminal {
  readonly #streams: CommandStreams;
  readonly #flags: SharedFlags;
  /** Colours for stdout; none if it is not a terminal or NO_COLOR is set. */
  readonly colors: ReturnType<typeof pc.createColors>;

  constructor(streams: CommandStreams, flags: SharedFlags) {
    this.#streams = streams;
    this.#flags = flags;
    this.colors = pc.createColors(pc.isColorSupported && streams.stdout.isTTY === true);
  }

  /** Maximum length of a line of results in characters; unlimited if stdout is not a terminal. */
  get width(): number {
    const { isTTY, columns } = this.#streams.stdout;
    return isTTY ? columns || 80 : Number.POSITIVE_INFINITY;
  }

  /** Stream for progress; undefined with --quiet. */
  get progress(): OutputStream | undefined {
    return this.#flags.quiet ? undefined : this.#streams.stderr;
  }

  /** Options for writing files. */
  get write(): { force: boolean } {
    return { force: this.#flags.force === true };
  }

  /** A signal that aborts at Ctrl-C, for commands that can stop early. */
  interrupted(): AbortSignal | undefined {
    return this.#streams.onInterrupt?.();
  }

  /** Prints a result to stdout. */
  print(text: string): void {
    this.#result(withoutLongWords(text));
  }

  /** Prints a result as JSON to stdout. */
  json(value: unknown): void {
    this.#result(JSON.stringify(value, undefined, 2));
  }

  #result(text: string): void {
    this.#streams.stdout.write(`${visibleLines(withoutOptions(text), this.colors.isColorSupported)}\n`);
  }

  /** Prints a remark to stderr, unless --quiet is set. */
  note(text: string): void {
    this.progress?.write(`${visible(withoutLongWords(withoutOptions(text)))}\n`);
  }

  /** Shows the current activity in a line of stderr that is overwritten; without a text, clears it. Only on terminals. */
  status(text?: string): void {
    const stream = this.progress;
    if (stream?.isTTY) stream.write(`\r${visible(text ?? "").slice(0, (stream.columns || 80) - 1)}\x1b[K`);
  }

  /** Reports a written file: `in.onnx (79 kB) → out.onnx (81 kB)`. */
  async wrote(input: string, output: string, data?: string): Promise<void> {
    if (this.#flags.quiet) return;
    const beside = data === undefined ? "" : `, its weights in ${data} (${await sizeOf(data)})`;
    this.print(`${input} (${await sizeOf(input)}) → ${output} (${await sizeOf(output)})${beside}`);
  }
}

async function sizeOf(path: string): Promise<string> {
  return formatBytes((await stat(path)).size);
}

import { stat } from "node:fs/promises";
import pc from "picocolors";
import { formatBytes } from "../report/byte-count.ts";
import { visible, visibleLines } from "../report/visible.ts";

/** Where a command writes. The process's own streams in use, buffers in tests. */
export interface CommandStreams {
  /** Results. */
  readonly stdout: OutputStream;
  /** Progress, remarks and errors. */
  readonly stderr: OutputStream;
  /** Called by a command that can stop early: the signal aborts at the first Ctrl-C; a second one quits at once. */
  readonly onInterrupt?: () => AbortSignal;
}

/** What is needed of a stream. */
export interface OutputStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  /** Width of the terminal in characters. */
  readonly columns?: number;
}

/** Flags that every command takes. */
export interface SharedFlags {
  /** Replace files that exist. */
  readonly force?: true;
  /** Show where an error was thrown. */
  readonly debug?: true;
  /** Errors and results only. */
  readonly quiet?: true;
}

/** How a command speaks to its user: results on stdout, everything else on stderr. */
export class Terminal {
  readonly #streams: CommandStreams;
  readonly #flags: SharedFlags;
  /** Colours for stdout: none where it is not a terminal, or NO_COLOR is set. */
  readonly colors: ReturnType<typeof pc.createColors>;

  constructor(streams: CommandStreams, flags: SharedFlags) {
    this.#streams = streams;
    this.#flags = flags;
    this.colors = pc.createColors(pc.isColorSupported && streams.stdout.isTTY === true);
  }

  /** Characters that a line of results may have: any number where stdout is no terminal. */
  get width(): number {
    const { isTTY, columns } = this.#streams.stdout;
    return isTTY ? columns || 80 : Number.POSITIVE_INFINITY;
  }

  /** Where progress goes; undefined when it shall not be shown. */
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

  /** One result, on stdout. */
  print(text: string): void {
    this.#streams.stdout.write(`${visibleLines(text, this.colors.isColorSupported)}\n`);
  }

  /** A result for machines, on stdout. */
  json(value: unknown): void {
    this.print(JSON.stringify(value, undefined, 2));
  }

  /** A remark, on stderr; silent with --quiet. */
  note(text: string): void {
    this.progress?.write(`${visible(text)}\n`);
  }

  /** What is being done, in a line of stderr that is rewritten; without a text it is taken away. On terminals only. */
  status(text?: string): void {
    const stream = this.progress;
    if (stream?.isTTY) stream.write(`\r${visible(text ?? "").slice(0, (stream.columns || 80) - 1)}\x1b[K`);
  }

  /** Says which file became which: `in.onnx (79 kB) → out.onnx (81 kB)`. */
  async wrote(input: string, output: string): Promise<void> {
    if (this.#flags.quiet) return;
    this.print(`${input} (${await sizeOf(input)}) → ${output} (${await sizeOf(output)})`);
  }
}

async function sizeOf(path: string): Promise<string> {
  return formatBytes((await stat(path)).size);
}

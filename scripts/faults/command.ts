import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The command line as it is built. */
const program = fileURLToPath(new URL("../../dist/node/cli.js", import.meta.url));

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
  readonly milliseconds: number;
}

/** What happens to a command while it runs. */
export interface Fault {
  /** The signal, and when it is sent: after milliseconds, or when a text appears on stderr. */
  readonly send?: { readonly signal: NodeJS.Signals; readonly at: number | string; readonly times?: number };
  /** Called once, when a text appears on stderr. */
  readonly when?: { readonly text: string; readonly act: () => void };
  /** Most bytes of a file that it may write: a disk that fills up at that byte. */
  readonly fileSize?: number;
  /** Where its results go: to a full disk, or to a reader that has gone. */
  readonly stdout?: "full" | "gone";
  /** Runs as this user. */
  readonly user?: number;
  /** Called once it runs. @returns called when it has ended */
  readonly beside?: (kill: () => void) => () => void;
}

/** Runs `sorth-onnx` in a process of its own, in a folder. */
export function command(folder: string, words: readonly string[], fault: Fault = {}): Promise<Ended> {
  const { send, when, stdout, user, beside } = fault;
  const [file = "", ...argv] = started(words, fault);
  const began = performance.now();
  const results = stdout === "full" ? openSync("/dev/full", "w") : "ignore";
  return new Promise((resolve) => {
    const child = spawn(file, argv, {
      cwd: folder,
      stdio: ["ignore", results, "pipe"],
      ...(user !== undefined && { uid: user, gid: user }),
    });
    if (typeof results === "number") closeSync(results);
    let stderr = "";
    const signal = () => {
      if (send) for (let i = 0; i < (send.times ?? 1); i++) setTimeout(() => child.kill(send.signal), 60 * i);
    };
    const timer = typeof send?.at === "number" ? setTimeout(signal, send.at) : undefined;
    const done = beside?.(() => child.kill("SIGKILL"));
    // What waits for a text.
    const waiting = [
      ...(typeof send?.at === "string" ? [{ text: send.at, act: signal }] : []),
      ...(when ? [when] : []),
    ];
    child.stderr?.on("data", (bytes: Buffer) => {
      stderr += bytes;
      for (const one of waiting.filter(({ text }) => stderr.includes(text))) {
        waiting.splice(waiting.indexOf(one), 1);
        one.act();
      }
    });
    child.on("close", (code, by) => {
      clearTimeout(timer);
      done?.();
      resolve({ code, signal: by, stderr, milliseconds: performance.now() - began });
    });
  });
}

/** The words that start the command, with its limits. */
function started(words: readonly string[], { fileSize, stdout }: Fault): string[] {
  const node = [process.execPath, program, ...words];
  if (stdout === "gone") return ["bash", "-c", 'set -o pipefail; "$@" | true', "bash", ...node];
  if (fileSize === undefined) return node;
  // Blocks of 1,024 bytes; the signal of the limit is ignored, so that the write fails as on a full disk.
  return ["bash", "-c", `trap '' XFSZ; ulimit -f ${fileSize / 1024}; exec "$@"`, "bash", ...node];
}

/** What is wrong with the end of a failed command's output: it must be one line of error, and no stack. */
export function faultOf(stderr: string): string | undefined {
  const errors = stderr.split("\n").filter((line) => line.startsWith("error: "));
  if (errors.length !== 1) return `prints ${errors.length} errors: ${stderr.slice(-300)}`;
  return /unexpected error|\bat .+:\d+:\d+/.test(stderr) ? `prints ${errors[0]}` : undefined;
}

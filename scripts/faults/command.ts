import { spawn } from "node:child_process";
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
  /** Most bytes of a file that it may write: a disk that fills up at that byte. */
  readonly fileSize?: number;
  /** Called once it runs. @returns called when it has ended */
  readonly beside?: (kill: () => void) => () => void;
}

/** Runs `sorth-onnx` in a process of its own, in a folder. */
export function command(folder: string, words: readonly string[], fault: Fault = {}): Promise<Ended> {
  const { send, fileSize, beside } = fault;
  const node = [process.execPath, program, ...words];
  // Blocks of 1,024 bytes; the signal of the limit is ignored, so that the write fails as on a full disk.
  const [file = "", ...argv] =
    fileSize === undefined
      ? node
      : ["bash", "-c", `trap '' XFSZ; ulimit -f ${fileSize / 1024}; exec "$@"`, "bash", ...node];
  const began = performance.now();
  return new Promise((resolve) => {
    const child = spawn(file, argv, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    const signal = () => {
      if (send) for (let i = 0; i < (send.times ?? 1); i++) setTimeout(() => child.kill(send.signal), 60 * i);
    };
    const timer = typeof send?.at === "number" ? setTimeout(signal, send.at) : undefined;
    const done = beside?.(() => child.kill("SIGKILL"));
    let isSent = false;
    child.stderr.on("data", (bytes: Buffer) => {
      stderr += bytes;
      if (typeof send?.at !== "string" || isSent || !stderr.includes(send.at)) return;
      isSent = true;
      signal();
    });
    child.on("close", (code, by) => {
      clearTimeout(timer);
      done?.();
      resolve({ code, signal: by, stderr, milliseconds: performance.now() - began });
    });
  });
}

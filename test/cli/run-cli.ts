import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { run } from "../../src/cli/program.ts";

/** What a command left behind. */
export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line in this process. */
export function cli(...argv: string[]): Promise<CliResult> {
  return cliOn({}, ...argv);
}

/** Runs the command line with stdout as a terminal, or as whatever is said of it. */
export async function cliOn(
  terminal: { readonly isTTY?: boolean; readonly columns?: number },
  ...argv: string[]
): Promise<CliResult> {
  let stdout = "";
  let stderr = "";
  const code = await run(argv, {
    stdout: {
      ...terminal,
      write: (text) => {
        stdout += text;
      },
    },
    stderr: {
      write: (text) => {
        stderr += text;
      },
    },
  });
  return { code, stdout, stderr };
}

/** An empty folder of its own, and what removes it. */
export function temporaryFolder(): { path: string; remove: () => void } {
  const parent = join(tmpdir(), "sorth-onnx-test");
  mkdirSync(parent, { recursive: true });
  const path = mkdtempSync(join(parent, "cli-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Every file below a folder with its content: to show that a command changed nothing. */
export function snapshot(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .map((name) => join(folder, name))
      .filter((path) => statSync(path).isFile())
      .map((path) => [relative(folder, path), readFileSync(path, "base64")]),
  );
}

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../../src/cli/program.ts";
import { SorthError } from "../../../src/errors.ts";
import { ortNode } from "../../../src/runtime/ort-node.ts";
import { visibleLines } from "../../../src/visible.ts";
import { Broken, type Family } from "../family.ts";

type Entry = Family["entries"][string];

/**
 * An entry that calls a command of the command line in this process, and judges its exit code and what it prints. The models
 * that it writes must open if the input does.
 */
export const command =
  (words: (input: string, out: string) => readonly string[]): Entry =>
  async (input, out) => {
    let [stdout, stderr] = ["", ""];
    const code = await run(words(input, out), {
      stdout: { write: (text) => (stdout += text) },
      stderr: { write: (text) => (stderr += text) },
    });
    for (const text of [stdout, stderr]) {
      // Tables for spreadsheets end their lines as RFC 4180 says.
      const plain = text.replaceAll("\r\n", "\n");
      if (visibleLines(plain) !== plain) throw new Broken("it prints control characters");
    }
    if (/^unexpected error/m.test(stderr)) throw new Broken(`unexpected: ${stderr.slice(-2000)}`);
    if (code === 0) return checkWritten(input, out);
    const [message, another] = stderr.split("\n").filter((line) => line.startsWith("error: "));
    // `verify` ends with 1 and its report.
    if (message === undefined && stdout === "") throw new Broken(`it ends with ${code} and no error`);
    if (another !== undefined) throw new Broken("it prints several errors");
    throw new SorthError(message ?? "the checks failed");
  };

/**
 * Artifacts, in a folder of their own, are for another ONNX Runtime.
 * @throws Broken if a written model does not open although those of the input do
 */
async function checkWritten(input: string, out: string): Promise<void> {
  for (const path of await modelsIn(out)) {
    if (await opens(path)) continue;
    const given = await modelsIn(input);
    const sound = await Promise.all(given.map(opens));
    if (sound.every(Boolean)) throw new Broken(`${path.slice(out.length + 1)} does not open`);
  }
}

async function modelsIn(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  return names.filter((name) => name.endsWith(".onnx")).map((name) => join(folder, name));
}

/** Whether ONNX Runtime opens a model: a file, or its bytes. */
export async function opens(model: string | Uint8Array): Promise<boolean> {
  const { InferenceSession } = await ortNode();
  try {
    const options = { graphOptimizationLevel: "disabled", logSeverityLevel: 4 } as const;
    const session = await (typeof model === "string"
      ? InferenceSession.create(model, options)
      : InferenceSession.create(model, options));
    await session.release();
    return true;
  } catch {
    return false;
  }
}

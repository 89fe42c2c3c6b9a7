import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SorthError } from "../../src/errors.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { visible } from "../../src/visible.ts";
import { Chance } from "./chance.ts";
import { families, pickFamily } from "./families/table.ts";
import { Broken, type Family, type Files } from "./family.ts";
import { filesIn } from "./seeds.ts";

/** A case that is ready to run. */
export interface Case {
  readonly family: Family;
  readonly entry: string;
  readonly files: Files;
}

/** How a case ended; `fault` says what must not happen. */
export interface Outcome {
  readonly kind: "done" | "refused" | "fault";
  readonly message: string;
}

/** The case of a number. @param only - name of the family to which cases are restricted */
export async function makeCase(seed: number, number: number, seeds: string, only?: string): Promise<Case> {
  const chance = new Chance(seed, number);
  const list = families.filter(({ name }) => only === undefined || name === only);
  const family = pickFamily(chance, list);
  const entry = chance.pick(Object.keys(family.entries));
  return { family, entry, files: await family.files(chance, seeds) };
}

/** Longest message that a user is shown. */
const longest = 2000;

/** What is wrong with a message to users: lines, control characters, a length that fills the screen. */
function faultOfMessage(message: string): string | undefined {
  if (message.length > longest) return `its message has ${message.length} characters`;
  return visible(message) === message ? undefined : "its message has line breaks or control characters";
}

/**
 * Writes the files of a case into a folder of its own, calls the entry on it, and judges how it ends.
 * @param folder - is made, and removed afterwards
 */
export async function runCase(made: Case, folder: string): Promise<Outcome> {
  try {
    const outcome = await judged(made, folder);
    if (made.family.changesInput || outcome.kind === "fault") return outcome;
    const after = await filesIn(join(folder, "in"));
    const names = new Set([...after.keys(), ...made.files.keys()]);
    const changed = [...names].filter(
      (name) => !equalBytes(after.get(name) ?? none, made.files.get(name) ?? none),
    );
    return changed.length === 0
      ? outcome
      : { kind: "fault", message: `it wrote into its input: ${changed.join(", ")}` };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const none = new Uint8Array();

async function judged({ family, entry, files }: Case, folder: string): Promise<Outcome> {
  const [input, out] = [join(folder, "in"), join(folder, "out")];
  await mkdir(out, { recursive: true });
  try {
    for (const [name, bytes] of files) {
      await mkdir(dirname(join(input, name)), { recursive: true });
      await writeFile(join(input, name), bytes);
    }
    await family.entries[entry]?.(input, out);
    return { kind: "done", message: "" };
  } catch (error) {
    const { message, stack } = error instanceof Error ? error : { message: String(error), stack: "" };
    if (error instanceof Broken) return { kind: "fault", message };
    if (!(error instanceof SorthError)) return { kind: "fault", message: `not an error for users: ${stack}` };
    const wrong = faultOfMessage(message);
    if (wrong) return { kind: "fault", message: `${wrong}: ${JSON.stringify(message.slice(0, 300))}` };
    const written = await readdir(out);
    // A run that breaks off after its first step keeps its log, and says which state is left.
    const brokeOff = message.includes(`is kept in ${out}`) || message.includes(" was restored: ");
    if (written.length > 0 && !brokeOff)
      return { kind: "fault", message: `it failed and left ${written.join(", ")}: ${message}` };
    return { kind: "refused", message };
  }
}

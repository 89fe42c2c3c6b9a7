import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { messageOf, SorthError, UsageError } from "../errors.ts";
import { readModel } from "../index.ts";
import { lossModel } from "../losses/loss-model.ts";
import type { Objective } from "../losses/objective.ts";
import { type OwnLoss, type OwnLossOptions, ownLoss } from "../losses/own-loss.ts";
import type { LossTerm } from "../losses/terms.ts";
import { isLossFile } from "../losses/text.ts";
import { nameAndOptions } from "../name-and-options.ts";
import type { ObjectiveFlags } from "./loss-flags.ts";

/**
 * The flags with the losses that they name by file, an ONNX model or a module whose default export is a loss, and the teacher.
 * @throws SorthError for a file that cannot be read or exports no loss
 */
export async function withLossFiles<F extends ObjectiveFlags>(flags: F): Promise<F> {
  const losses = new Map<string, LossTerm["objective"]>();
  for (const text of flags.objective ?? []) {
    const path = nameAndOptions(text).name;
    if (isLossFile(path)) losses.set(path, await lossIn(path));
  }
  const teacher = flags.teacher === undefined ? undefined : await readTeacher(flags.teacher);
  return { ...flags, ...(losses.size > 0 && { losses }), ...(teacher && { taught: teacher }) };
}

/** The model of `--teacher model[:output]`, and the output. */
async function readTeacher(text: string): Promise<NonNullable<ObjectiveFlags["taught"]>> {
  const { path, output } = teacherPath(text);
  const model = await readModel(path);
  return { teacher: model, ...(output !== undefined && { teacherOutput: output }) };
}

/** The parts of `--teacher`: a path, which may contain a colon, and after a further colon an output. */
export function teacherPath(text: string): { readonly path: string; readonly output?: string } {
  const colon = text.lastIndexOf(":");
  if (colon < 0 || existsSync(text) || !existsSync(text.slice(0, colon))) return { path: text };
  return { path: text.slice(0, colon), output: text.slice(colon + 1) };
}

async function lossIn(path: string): Promise<LossTerm["objective"]> {
  const name = basename(path).replace(/\.[^.]*$/, "");
  if (/\.onnx$/i.test(path)) return lossModel(await readModel(path), name);
  let loss: unknown;
  try {
    ({ default: loss } = (await import(pathToFileURL(resolve(path)).href)) as { default?: unknown });
  } catch (error) {
    throw new UsageError(`the loss ${path} cannot be loaded: ${messageOf(error)}`);
  }
  if (typeof loss === "function") return ownLoss({ name, loss: named(path, loss as OwnLoss["loss"]) });
  const { build, evaluate } = (loss ?? {}) as Partial<Objective>;
  if (typeof build === "function" && typeof evaluate === "function") return loss as Objective;
  const own = (loss ?? {}) as Partial<OwnLossOptions>;
  if (typeof own.loss === "function") return ownLoss({ name, ...own, loss: named(path, own.loss) });
  throw new UsageError(
    `${path} exports no loss: write "export default (g, prediction, labels) => …" or "export default ownLoss({ … })"`,
  );
}

/** A function of the user's own whose errors name its file. */
const named =
  (path: string, loss: OwnLoss["loss"]): OwnLoss["loss"] =>
  (...given) => {
    try {
      return loss(...given);
    } catch (error) {
      if (error instanceof SorthError) throw error;
      throw new UsageError(`the loss ${path} fails: ${messageOf(error)}`);
    }
  };

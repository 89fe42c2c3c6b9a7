import { command } from "./command.ts";
import type { Ground } from "./ground.ts";

/** One thing that was tried, and what went wrong. */
export interface Check {
  readonly what: string;
  readonly fault: string | undefined;
}

/** The words of a training run, long enough to be disturbed. */
export const run = [
  ...["train", "model.onnx", "--data", "data.npz", "--batch", "10", "--epochs", "4", "--validation", "0.2"],
  ...["--seed", "3", "--penalty", "som", "-o", "trained.onnx", "--checkpoint", "run"],
];
export const goOn = ["train", "--resume", "run", "-o", "trained.onnx", "--force"];

/** The model of the run that nothing disturbs. */
export async function undisturbed(ground: Ground): Promise<{ trained: Buffer; milliseconds: number }> {
  await ground.clean();
  const { code, stderr, milliseconds } = await command(ground.folder, run);
  const trained = await ground.bytes("trained.onnx");
  if (code !== 0 || !trained) throw new Error(`the run ends with ${code} undisturbed: ${stderr}`);
  return { trained, milliseconds };
}

/** Resumes a disturbed run, or begins it again if it left no checkpoint. @returns why its model is not that of the whole run */
export async function resumed(ground: Ground, trained: Buffer): Promise<string | undefined> {
  const names = await ground.names();
  const own = await ground.bytes("trained.onnx");
  if (own && !own.equals(trained)) return "the run left another model";
  const words = names.includes("run/last.safetensors") ? goOn : [...run, "--force"];
  if (own && words === goOn) return undefined;
  const { code, stderr } = await command(ground.folder, words);
  if (code !== 0)
    return `${words.slice(0, 3).join(" ")} ends with ${code}: ${stderr.trim().split("\n").at(-1)}`;
  const after = await ground.bytes("trained.onnx");
  return after?.equals(trained) ? undefined : "the resumed run ends in another model";
}

/** Ctrl-C and the signals of shutting down, once and twice. */
export async function* signals(ground: Ground): AsyncGenerator<Check> {
  const { trained } = await undisturbed(ground);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    for (const times of [1, 2]) {
      await ground.clean();
      const at = "trained: ";
      const { code, stderr } = await command(ground.folder, run, { send: { signal, at, times } });
      const what = `${signal}, ${times === 1 ? "once" : "twice"}`;
      const stopped = times === 1 && code === 1 && /to go on: sorth-onnx train --resume run/.test(stderr);
      const ended = times === 2 && (code === 1 || (code ?? 0) > 128);
      const kept = (await ground.names()).filter((name) => /\.tmp$|run\.lock$/.test(name));
      const fault = !(stopped || ended)
        ? `ends with ${code}: ${stderr.trim().split("\n").at(-1)}`
        : kept.length > 0
          ? `leaves ${kept.join(", ")}`
          : await resumed(ground, trained);
      yield { what, fault };
    }
  }
}

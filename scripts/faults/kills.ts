import { mkdirSync, watch } from "node:fs";
import type { Chance } from "../fuzz/chance.ts";
import { command, type Ended } from "./command.ts";
import type { Ground } from "./ground.ts";
import { type Check, resumed, run, undisturbed } from "./signals.ts";

/** Whether the signal came before the command had ended: only then its check counts. */
const wasKilled = ({ signal }: Ended): boolean => signal === "SIGKILL";

/** Runs that are killed at any moment: what they have saved leads to the same model. */
export async function* killedRuns(ground: Ground, count: number, chance: Chance): AsyncGenerator<Check> {
  const { trained, milliseconds } = await undisturbed(ground);
  for (let killed = 0; killed < count; ) {
    await ground.clean();
    const at = chance.below(Math.ceil(milliseconds * 1.05));
    if (!wasKilled(await command(ground.folder, run, { send: { signal: "SIGKILL", at } }))) continue;
    killed++;
    yield {
      what: `killed after ${at} ms of ${Math.round(milliseconds)}`,
      fault: await resumed(ground, trained),
    };
  }
}

/** Runs that are killed when something in their folder changes: a checkpoint is then written, renamed or removed. */
export async function* killedSaves(ground: Ground, count: number, chance: Chance): AsyncGenerator<Check> {
  const { trained } = await undisturbed(ground);
  for (let killed = 0; killed < count; ) {
    await ground.clean();
    mkdirSync(ground.at("run"));
    // Each checkpoint is some changes: a temporary file, its content, its name.
    const nth = 1 + chance.below(40);
    const beside = (kill: () => void) => {
      let seen = 0;
      const watcher = watch(ground.at("run"), (_, name) => {
        if (name?.includes("safetensors") && ++seen === nth) kill();
      });
      return () => watcher.close();
    };
    if (!wasKilled(await command(ground.folder, [...run, "--force"], { beside }))) continue;
    killed++;
    yield { what: `killed at change ${nth} of its checkpoints`, fault: await resumed(ground, trained) };
  }
}

/** Commands that write one file: it is there as a whole, or not at all. */
export async function* killedCommands(ground: Ground, count: number, chance: Chance): AsyncGenerator<Check> {
  await ground.clean();
  const commands = [
    { words: ["inject", "model.onnx", "-o", "out.onnx"], out: ["out.onnx"] },
    {
      words: ["grad", "model.onnx", "--objective", "cross-entropy", "--batch", "4", "-o", "out.onnx"],
      out: ["out.onnx"],
    },
    { words: ["export", "source.run", "-o", "out.onnx"], out: ["out.onnx"] },
    {
      words: ["artifacts", "model.onnx", "-o", "out"],
      out: ["out/training_model.onnx", "out/eval_model.onnx", "out/optimizer_model.onnx", "out/checkpoint"],
    },
  ];
  const { folder } = ground;
  for (const { words, out } of commands) {
    await ground.clean();
    const { code, stderr, milliseconds } = await command(folder, words);
    if (code !== 0) throw new Error(`${words.join(" ")} ends with ${code}: ${stderr}`);
    const whole = new Map(
      await Promise.all(out.map(async (name) => [name, await ground.bytes(name)] as const)),
    );
    const model = await ground.bytes("model.onnx");
    for (let killed = 0; killed < count / commands.length; ) {
      await ground.clean();
      const at = chance.below(Math.ceil(milliseconds * 1.05));
      if (!wasKilled(await command(folder, words, { send: { signal: "SIGKILL", at } }))) continue;
      killed++;
      const torn: string[] = [];
      for (const name of out) {
        const bytes = await ground.bytes(name);
        if (bytes && !whole.get(name)?.equals(bytes)) torn.push(name);
      }
      if (!model?.equals((await ground.bytes("model.onnx")) ?? Buffer.of())) torn.push("model.onnx");
      const fault = torn.length > 0 ? `torn: ${torn.join(", ")}` : undefined;
      yield { what: `${words[0]} killed after ${at} ms of ${Math.round(milliseconds)}`, fault };
    }
  }
}

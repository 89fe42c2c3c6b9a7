import { command, faultOf } from "./command.ts";
import type { Ground } from "./ground.ts";
import { type Check, resumed, run, undisturbed } from "./signals.ts";

/** Sizes of files, in bytes, at which a disk is full: below, among and above those that the commands write. */
const sizes = [0, 4, 16, 64, 128, 256, 384, 448, 512, 768, 1024, 1536, 2048, 4096].map(
  (kilobytes) => kilobytes * 1024,
);

const quickSizes = [64, 448, 2048].map((kilobytes) => kilobytes * 1024);

/** A full disk at every size: one line of error, no part of a file, and a run that goes on when there is room again. */
export async function* fullDisks(ground: Ground, quick: boolean): AsyncGenerator<Check> {
  const { trained } = await undisturbed(ground);
  for (const fileSize of quick ? quickSizes : sizes) {
    await ground.clean();
    const before = await ground.names();
    const injected = await command(ground.folder, ["inject", "model.onnx", "-o", "out.onnx"], { fileSize });
    const left = (await ground.names()).filter((name) => !before.includes(name));
    yield {
      what: `inject with room for ${fileSize} bytes`,
      fault:
        injected.code === 0
          ? undefined
          : (faultOf(injected.stderr) ?? (left.length > 0 ? `leaves ${left}` : undefined)),
    };
    await ground.clean();
    const trainedThen = await command(ground.folder, run, { fileSize });
    const kept = (await ground.names()).filter((name) => /\.tmp$|run\.lock$/.test(name));
    yield {
      what: `train with room for ${fileSize} bytes`,
      fault:
        (trainedThen.code === 0 ? undefined : faultOf(trainedThen.stderr)) ??
        (kept.length > 0 ? `leaves ${kept}` : await resumed(ground, trained)),
    };
  }
}

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, copyFile, cp, mkdir, rename, rm, truncate, writeFile } from "node:fs/promises";
import { setTimeout as after } from "node:timers/promises";
import { npz } from "../../test/cli/npz.ts";
import { command, faultOf } from "./command.ts";
import type { Ground } from "./ground.ts";
import { type Check, goOn, resumed, run, undisturbed } from "./signals.ts";

/** The commands that write, each with its output in a folder. */
const writers = (folder: string): readonly (readonly string[])[] => [
  ["inject", "model.onnx", "-o", `${folder}/out.onnx`],
  ["artifacts", "model.onnx", "-o", `${folder}/artifacts`],
  ["export", "source.run", "-o", `${folder}/out.onnx`],
  [...run.slice(0, -3), `${folder}/trained.onnx`, "--checkpoint", `${folder}/run`],
];

/** Folders that cannot be written, change, vanish, are used twice or are too small, and outputs that are inputs. */
export async function* places(ground: Ground): AsyncGenerator<Check> {
  const { trained } = await undisturbed(ground);
  yield* readOnly(ground);
  yield* outputIsInput(ground, trained);
  yield* twoRuns(ground, trained);
  yield* changingFiles(ground, trained);
  yield* smallDisk(ground, trained);
}

/** A folder in which nothing may be written. To root everything is allowed, so another user runs the command. */
async function* readOnly(ground: Ground): AsyncGenerator<Check> {
  await ground.clean();
  await mkdir(ground.at("locked"));
  await chmod(ground.folder, 0o755);
  await chmod(ground.at("locked"), 0o555);
  const user = process.getuid?.() === 0 ? 65_534 : undefined;
  for (const words of writers("locked")) {
    const before = await ground.names();
    const { code, stderr } = await command(ground.folder, words, user === undefined ? {} : { user });
    const left = (await ground.names()).filter((name) => !before.includes(name));
    const fault = code === 1 ? faultOf(stderr) : `ends with ${code}: ${stderr.slice(-300)}`;
    yield {
      what: `${words[0]} into a read-only folder`,
      fault: fault ?? (left.length > 0 ? `leaves ${left}` : undefined),
    };
  }
  await chmod(ground.at("locked"), 0o755);
}

/** An output with the name of the input: a refusal, or the whole result. */
async function* outputIsInput(ground: Ground, trained: Buffer): AsyncGenerator<Check> {
  const original = (await ground.bytes("model.onnx")) ?? Buffer.of();
  const whole = async (words: readonly string[]) => {
    await ground.clean();
    const { code } = await command(ground.folder, [...words, "-o", "result.onnx"]);
    return code === 0 ? ground.bytes("result.onnx") : undefined;
  };
  const injected = await whole(["inject", "model.onnx"]);
  const cases = [
    { words: ["inject", "model.onnx", "-o", "model.onnx"], result: injected },
    { words: [...run.slice(0, -3), "model.onnx", "--checkpoint", "run"], result: trained },
  ];
  for (const { words, result } of cases) {
    for (const force of [[], ["--force"]]) {
      await ground.clean();
      const { code, stderr } = await command(ground.folder, [...words, ...force]);
      const now = (await ground.bytes("model.onnx")) ?? Buffer.of();
      const expected = code === 0 && force.length > 0 ? result : original;
      yield {
        what: `${words[0]} onto its own input ${force}`,
        fault:
          (code === 0 ? undefined : faultOf(stderr)) ??
          (expected?.equals(now) ? undefined : `ends with ${code}, and the file is another one`),
      };
      await writeFile(ground.at("model.onnx"), original);
    }
  }
}

/** A second run in a folder in which one trains. */
async function* twoRuns(ground: Ground, trained: Buffer): AsyncGenerator<Check> {
  await ground.clean();
  const first = command(ground.folder, run);
  while (!existsSync(ground.at("run/run.lock"))) await after(5);
  const second = await command(ground.folder, [...run, "--force"]);
  const { code } = await first;
  const own = await ground.bytes("trained.onnx");
  yield {
    what: "a second run in the same folder",
    fault:
      second.code !== 2 || !/process \d+ .*trains in/.test(second.stderr)
        ? `ends with ${second.code}: ${second.stderr.slice(-300)}`
        : code !== 0 || !own?.equals(trained)
          ? `the first run ends with ${code} or another model`
          : undefined,
  };
}

/** The model, the data or the folder of a run change while it trains. */
async function* changingFiles(ground: Ground, trained: Buffer): AsyncGenerator<Check> {
  const [model, data] = [await ground.bytes("model.onnx"), await ground.bytes("data.npz")];
  const restore = async () => {
    await writeFile(ground.at("model.onnx"), model ?? "");
    await writeFile(ground.at("data.npz"), data ?? "");
  };
  const changes: Readonly<Record<string, () => Promise<unknown>>> = {
    "the model is overwritten": () => writeFile(ground.at("model.onnx"), "no model"),
    "the data are cut off": () => truncate(ground.at("data.npz"), 1000),
    "the data are removed": () => rm(ground.at("data.npz")),
    "the run's folder is removed": () => rm(ground.at("run"), { recursive: true, force: true }),
    "the run's folder is renamed": () => rename(ground.at("run"), ground.at("other")),
  };
  for (const [what, change] of Object.entries(changes)) {
    await ground.clean();
    let changed: Promise<unknown> = Promise.resolve();
    const act = () => {
      changed = change();
    };
    const { code, stderr } = await command(ground.folder, run, { when: { text: "epoch 1", act } });
    await changed.catch(() => {});
    const own = await ground.bytes("trained.onnx");
    const fault =
      code === 0 ? (own?.equals(trained) ? undefined : "it ends in another model") : faultOf(stderr);
    yield { what: `${what} during a run`, fault };
    await restore();
  }
  // Between a stop and its continuation.
  await ground.clean();
  await command(ground.folder, run, { send: { signal: "SIGINT", at: "epoch 1" } });
  await writeFile(
    ground.at("data.npz"),
    npz(200, [1, 28, 28], (index) => (index * 3) % 10),
  );
  const { code, stderr } = await command(ground.folder, goOn);
  const fault = code === 0 ? "it goes on with other data" : faultOf(stderr);
  await restore();
  yield { what: "the data are others when a run goes on", fault: fault ?? (await resumed(ground, trained)) };
}

/** A file system of a few hundred kilobytes, where one may be mounted. */
async function* smallDisk(ground: Ground, trained: Buffer): AsyncGenerator<Check> {
  const disk = ground.at("disk");
  const mount = (...words: readonly string[]) => execFileSync("mount", words, { stdio: "ignore" });
  await ground.clean();
  await mkdir(disk);
  try {
    mount("-t", "tmpfs", "-o", "size=100k", "none", disk);
  } catch {
    console.log("a small file system is not tried: this user may not mount one");
    return;
  }
  try {
    for (const kilobytes of [100, 600, 1200, 1800, 2400]) {
      for (const words of writers("disk")) {
        execFileSync("find", [disk, "-mindepth", "1", "-delete"]);
        mount("-o", `remount,size=${kilobytes}k`, disk);
        const ended = await command(ground.folder, words);
        let fault = ended.code === 0 ? undefined : faultOf(ended.stderr);
        const torn = (await ground.names()).filter((name) => /\.tmp$|run\.lock$/.test(name));
        if (torn.length > 0) fault ??= `leaves ${torn}`;
        mount("-o", "remount,size=64m", disk);
        if (words[0] === "train") {
          // The run goes on when there is room again, in the place where the other checks look for it.
          const left = ["run", "trained.onnx"].filter((name) => existsSync(`${disk}/${name}`));
          for (const name of left) await cp(`${disk}/${name}`, ground.at(name), { recursive: true });
          fault ??= await resumed(ground, trained);
          for (const name of ["run", "trained.onnx"])
            await rm(ground.at(name), { recursive: true, force: true });
        }
        yield { what: `${words[0]} on a disk of ${kilobytes} kB`, fault };
      }
    }
  } finally {
    execFileSync("umount", [disk]);
  }
}

/** Results that nobody can read: a full disk behind stdout, a reader that has gone. */
export async function* streams(ground: Ground): AsyncGenerator<Check> {
  const { trained } = await undisturbed(ground);
  const readers = [
    ["inspect", "model.onnx"],
    ["angles", "model.onnx", "--json"],
    ["evaluate", "model.onnx", "--data", "data.npz"],
  ];
  for (const words of [...readers, ...writers("."), ["--help"]]) {
    for (const stdout of ["full", "gone"] as const) {
      await ground.clean();
      await copyFile(ground.at("model.onnx"), ground.at("copy.onnx"));
      const { code, stderr } = await command(ground.folder, words, { stdout });
      const expected = stdout === "full" ? code === 1 : code === 0;
      const wrong = stdout === "full" ? faultOf(stderr) : undefined;
      const own = words[0] === "train" ? await ground.bytes("trained.onnx") : trained;
      const fault = !expected
        ? `ends with ${code}: ${stderr.slice(-300)}`
        : (wrong ?? (own?.equals(trained) ? undefined : "the model is not the same"));
      yield { what: `${words[0]} with stdout ${stdout}`, fault };
    }
  }
}

import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { npz } from "../../test/cli/npz.ts";
import { inRepository } from "../fuzz/seeds.ts";
import { command } from "./command.ts";

/** A folder with a model and data, in which commands are disturbed. */
export class Ground {
  readonly folder: string;
  readonly #kept = new Set(["model.onnx", "data.npz"]);

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<Ground> {
    const ground = new Ground(await mkdtemp(join(tmpdir(), "sorth-faults-")));
    await copyFile(inRepository("models/mlp.onnx"), ground.at("model.onnx"));
    await writeFile(
      ground.at("data.npz"),
      npz(200, [1, 28, 28], (index) => index % 10),
    );
    await ground.#trainSource();
    return ground;
  }

  /** A finished run, for commands that read one. */
  async #trainSource(): Promise<void> {
    const words = [
      "train",
      "model.onnx",
      "--data",
      "data.npz",
      "--batch",
      "50",
      "--epochs",
      "1",
      "--no-report",
    ];
    const { code, stderr } = await command(this.folder, [
      ...words,
      "-o",
      "x.onnx",
      "--checkpoint",
      "source.run",
    ]);
    if (code !== 0) throw new Error(`no run can be made: ${stderr}`);
    this.#kept.add("source.run");
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  /** Removes everything that commands have written. */
  async clean(): Promise<void> {
    for (const name of await readdir(this.folder)) {
      if (!this.#kept.has(name)) await rm(this.at(name), { recursive: true });
    }
  }

  /** The names of files in the folder and its subfolders, sorted. */
  async names(): Promise<string[]> {
    const entries = await readdir(this.folder, { recursive: true });
    return entries.map((name) => name.replaceAll("\\", "/")).sort();
  }

  bytes(name: string): Promise<Buffer | undefined> {
    return readFile(this.at(name)).catch(() => undefined);
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }
}

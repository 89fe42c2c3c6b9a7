import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { pythonInterpreter } from "../scripts/python-environment.ts";
import type { Contender, ContenderOptions } from "./contender.ts";
import type { BenchmarkModel } from "./models.ts";

const script = fileURLToPath(new URL("torch_step.py", import.meta.url));
const folder = fileURLToPath(new URL("../.cache/bench", import.meta.url));

/** A Python process that runs PyTorch steps on command (bench/torch_step.py) and is idle otherwise. */
export class TorchPeer {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;

  /** @param device - PyTorch's device: `cpu` or `cuda` */
  constructor(threads: number, device = "cpu") {
    const environment = { ...process.env, OMP_NUM_THREADS: String(threads) };
    this.#process = spawn(pythonInterpreter(), [script, String(threads), device], { env: environment });
    this.#process.stderr.pipe(process.stderr);
    this.#answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** The version of PyTorch, its number of threads and its device. */
  async about(): Promise<{ torch: string; threads: number; device: string }> {
    return await this.#ask({ do: "about" });
  }

  /** A PyTorch network with the model's weights and data. */
  contender({ model, regularized }: ContenderOptions, compiled: boolean): Contender {
    const id = [model.name, regularized, compiled].join();
    return {
      runtime: compiled ? "torch.compile" : "PyTorch eager",
      network: model.name,
      regularized,
      start: async (steps) => {
        writeModel(model);
        const command = { do: "create", id, folder, network: model.name, warmUp: steps };
        const answer = await this.#ask<{ losses: number[] }>({
          ...command,
          penalty: regularized,
          compile: compiled,
        });
        return answer.losses;
      },
      run: async (steps) =>
        (await this.#ask<{ milliseconds: number }>({ do: "run", id, steps })).milliseconds,
      close: async () => {},
    };
  }

  close(): void {
    this.#process.stdin.end();
  }

  async #ask<T>(command: object): Promise<T> {
    this.#process.stdin.write(`${JSON.stringify(command)}\n`);
    const answer = await this.#answers.next();
    if (answer.done) throw new Error("bench/torch_step.py ended; its message is above");
    return JSON.parse(answer.value) as T;
  }
}

/** Writes the model, its batch and its labels for the Python process. */
function writeModel({ name, onnx, x, labels }: BenchmarkModel): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.onnx`), onnx);
  writeFileSync(join(folder, `${name}.x`), x.bytes);
  writeFileSync(join(folder, `${name}.labels`), labels);
}

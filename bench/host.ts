import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { pythonInterpreter } from "../scripts/python-environment.ts";
import type { Contender, Start } from "./contender.ts";

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** A process that runs training steps on command, one JSON line for each command and each answer, and is idle otherwise. */
export class Host {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  readonly #name: string;
  #end = "";

  private constructor(program: string, parameters: readonly string[], environment: Record<string, string>) {
    this.#name = parameters.find((one) => /own-host|torch_step/.test(one))?.replace(/.*\//, "bench/") ?? "";
    this.#process = spawn(program, parameters, { env: { ...process.env, ...environment } });
    this.#process.stderr.on("data", (text) => process.env.SORTH_BENCH_VERBOSE && process.stderr.write(text));
    this.#process.on("exit", (code, signal) => {
      this.#end ||= `ended with ${signal ?? `code ${code}`}`;
    });
    this.#process.on("error", (error) => {
      this.#end ||= error.message;
    });
    // A write after the end of the process is reported by the missing answer.
    this.#process.stdin.on("error", () => {});
    this.#answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** A process with this library (bench/own-host.ts). */
  static own(threads: number): Host {
    return new Host(process.execPath, ["--import", "tsx", path("own-host.ts"), String(threads)], {});
  }

  /** A process with PyTorch (bench/torch_step.py). @param device - `cpu` or `cuda` */
  static torch(threads: number, device = "cpu"): Host {
    return new Host(pythonInterpreter(), [path("torch_step.py"), String(threads), device], {
      OMP_NUM_THREADS: String(threads),
      TORCHINDUCTOR_CACHE_DIR: path("../.cache/bench/inductor"),
    });
  }

  /** @throws Error with the process's message when the command fails, the process ends or it takes too long */
  async ask<Answer>(command: object, seconds = 600): Promise<Answer> {
    this.#process.stdin.write(`${JSON.stringify(command)}\n`);
    const timer = setTimeout(() => {
      this.#end = `took longer than ${seconds} s and was ended`;
      this.#process.kill("SIGKILL");
    }, seconds * 1000);
    const answer = await this.#answers.next();
    clearTimeout(timer);
    if (answer.done) {
      throw new Error(`${this.#name} ${this.#end || "ended"}; SORTH_BENCH_VERBOSE=1 shows its messages`);
    }
    const result = JSON.parse(answer.value) as Answer & { readonly error?: string };
    if (result.error !== undefined) throw new Error(result.error);
    return result;
  }

  close(): void {
    this.#process.stdin.end();
    this.#process.kill();
  }
}

/** Which step a host is to run. */
export interface HostedOptions {
  readonly runtime: string;
  readonly network: string;
  readonly regularized: boolean;
  /** Further fields of the host's `create` command. */
  readonly command: object;
  /** Whether closing the contender ends the process. */
  readonly alone: boolean;
}

/** A contender in a process of its own, or in one that it shares with others. */
export function hosted(host: Host, { command, alone, ...about }: HostedOptions): Contender {
  const { runtime, network, regularized } = about;
  const id = [runtime, network, regularized].join();
  return {
    ...about,
    start: (steps) => host.ask<Start>({ do: "create", id, network, regularized, steps, ...command }),
    run: async (steps) => (await host.ask<{ milliseconds: number }>({ do: "run", id, steps })).milliseconds,
    peak: async () => (await host.ask<{ peak: number }>({ do: "memory" })).peak,
    close: async () => {
      if (alone) host.close();
      else await host.ask({ do: "close", id });
    },
  };
}

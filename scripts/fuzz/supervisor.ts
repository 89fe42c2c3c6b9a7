import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { heldUpSeconds, processorSeconds, residentBytes } from "./process-figures.ts";

/** Limits of a case. */
export const limits = {
  /** Seconds of work of the processor, and of waiting for anything but the processor. */
  time: { working: 10, waiting: 60 },
  /** Bytes of memory for each byte of the files, and besides. */
  memory: { perByte: 4, besides: 200e6 },
} as const;

/** A case as the parent knows it. */
export interface Finished {
  readonly number: number;
  readonly family: string;
  readonly entry: string;
  readonly outcome: "done" | "refused" | "fault" | "crash" | "hang" | "memory";
  readonly message: string;
  /** Seconds of the processor. */
  readonly seconds: number;
  /** Most bytes of memory that it added to the process, as seen now and then. */
  readonly memory: number;
}

interface Message {
  readonly state: "ready" | "begun" | "ended";
  readonly number: number;
  readonly family: string;
  readonly entry: string;
  readonly bytes: number;
  readonly kind: "done" | "refused" | "fault";
  readonly message: string;
}

/** A process begins again when it holds so many bytes: what ONNX Runtime keeps of each case adds up. */
const mostBytesOfProcess = 1.2e9;

/**
 * Runs cases in child processes, each within the limits. A child that breaks them, or dies, is replaced.
 * @param settings - seed, folders of seeds and of the work, and the family to which cases are restricted
 * @param next - number of the next case; undefined at the end
 */
export class Supervisor {
  #child: ChildProcess | undefined;
  readonly #args: readonly string[];

  constructor(seed: number, seeds: string, work: string, only?: string) {
    this.#args = [String(seed), seeds, work, ...(only === undefined ? [] : [only])];
  }

  async run(number: number): Promise<Finished> {
    const child = await this.#ready();
    const pid = child.pid ?? 0;
    const [base, worked, heldUp] = [residentBytes(pid), processorSeconds(pid), heldUpSeconds(pid)];
    let where = { number, family: "", entry: "" };
    let most = base;
    let allowed = Number.POSITIVE_INFINITY;
    return new Promise((resolve) => {
      const began = performance.now();
      const end = (outcome: Finished["outcome"], message: string) => {
        clearInterval(watch);
        child.off("message", heard);
        child.off("exit", died);
        if (outcome === "hang" || outcome === "memory") child.kill("SIGKILL");
        if (outcome === "hang" || outcome === "memory" || outcome === "crash") this.#child = undefined;
        resolve({ ...where, outcome, message, seconds: processorSeconds(pid) - worked, memory: most - base });
      };
      const heard = ({ state, family, entry, bytes, kind, message }: Message) => {
        where = { number, family, entry };
        if (state === "begun") allowed = base + limits.memory.perByte * bytes + limits.memory.besides;
        if (state === "ended") end(kind, message);
      };
      const died = (code: number | null, signal: string | null) =>
        end("crash", `the process ended with ${signal ?? code}`);
      const watch = setInterval(() => {
        const held = residentBytes(pid);
        most = Math.max(most, held);
        const working = processorSeconds(pid) - worked;
        const passed = (performance.now() - began) / 1000;
        if (held > allowed) end("memory", `${Math.round((held - base) / 1e6)} MB`);
        else if (working > limits.time.working) end("hang", `the processor works for ${working} s`);
        else if (passed > limits.time.waiting && passed - (heldUpSeconds(pid) - heldUp) > limits.time.waiting)
          end("hang", `it waits for ${limits.time.waiting} s`);
      }, 20);
      child.on("message", heard);
      child.on("exit", died);
      child.send(number);
    });
  }

  stop(): void {
    this.#child?.kill("SIGKILL");
    this.#child = undefined;
  }

  async #ready(): Promise<ChildProcess> {
    if (this.#child && residentBytes(this.#child.pid ?? 0) < mostBytesOfProcess) return this.#child;
    this.stop();
    const child = fork(fileURLToPath(new URL("child.ts", import.meta.url)), [...this.#args], {
      // What ONNX Runtime prints of bad models is not asked for.
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    await new Promise((resolve) => child.once("message", resolve));
    this.#child = child;
    return child;
  }
}

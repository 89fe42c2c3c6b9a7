import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Writes `run.jsonl`: one event a line, as they come. The folder and the file are made with the first event. */
export class RunLog {
  readonly #path: string;
  readonly #folder: string;
  #started: boolean;
  #lines: string[] = [];
  #written = 0;

  /** @param resumed - go on at the end of the file that is there; otherwise it is begun anew */
  constructor(folder: string, resumed: boolean) {
    this.#folder = folder;
    this.#path = join(folder, "run.jsonl");
    this.#started = resumed;
    // A run that was killed may have left half a line: what comes now starts on its own.
    if (resumed && existsSync(this.#path) && !/(^|\n)$/.test(readFileSync(this.#path, "utf8").slice(-1))) {
      this.#lines.push("\n");
    }
  }

  /**
   * Adds an event; steps are gathered for up to a second, everything else is written at once.
   * @returns "begun" when the folder and the file were made for it
   */
  add(event: { readonly event: string }): "begun" | undefined {
    const started = this.#started;
    this.#lines.push(`${JSON.stringify(event)}\n`);
    if (event.event !== "step" || Date.now() - this.#written > 1000) this.flush();
    return started === this.#started ? undefined : "begun";
  }

  /** Writes what was gathered. */
  flush(): void {
    if (this.#lines.length === 0) return;
    const text = this.#lines.join("");
    if (this.#started) appendFileSync(this.#path, text);
    else {
      mkdirSync(this.#folder, { recursive: true });
      writeFileSync(this.#path, text);
      this.#started = true;
    }
    this.#lines = [];
    this.#written = Date.now();
  }
}

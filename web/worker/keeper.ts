import type { History } from "../history.ts";
import type { Settings } from "../protocol.ts";
import { keepFiles, keepIndex, keepsData, keepsNothing, runFolder, takePlace } from "./kept-run.ts";
import { messageOf } from "./message-of.ts";
import type { OpenedData } from "./open-data.ts";
import type { OpenedModel } from "./open-model.ts";
import type { RunPair } from "./run-pair.ts";

/** The parts of a run that the keeper saves, besides the checkpoints. */
export interface RunParts {
  readonly opened: OpenedModel;
  readonly data: OpenedData;
  readonly settings: Settings;
  readonly history: History;
}

let place: Promise<boolean> | undefined;

/** Keeps a run in the page's own storage, so that it can continue after its tab was closed. */
export class Keeper {
  #usable: boolean;
  readonly #tell: (message: string) => void;
  #last = performance.now();

  private constructor(usable: boolean, tell: (message: string) => void) {
    this.#usable = usable;
    this.#tell = tell;
  }

  /** Makes room for a new run, or continues to keep the stored one. Sends a message if the run will not be kept. */
  static async begin(
    { opened, data }: RunParts,
    { fresh }: { readonly fresh: boolean },
    tell: (message: string) => void,
  ): Promise<Keeper> {
    const missing = keepsNothing();
    if (missing) {
      tell(`this run will be lost when its tab is closed: ${missing}`);
      return new Keeper(false, tell);
    }
    try {
      place ??= takePlace();
      if (!(await place)) {
        tell(
          "another tab of this page keeps its run in the browser: this one will be lost when its tab is closed",
        );
        return new Keeper(false, tell);
      }
      if (fresh) await keepFiles(opened.source, data.source);
      return new Keeper(true, tell);
    } catch (error) {
      tell(`${messageOf(error)}; it will be lost when its tab is closed`);
      return new Keeper(false, tell);
    }
  }

  /** Whether the last save is old enough for the next one. */
  get isDue(): boolean {
    return this.#usable && performance.now() - this.#last > 15_000;
  }

  /** Saves both runs in their current state. */
  async keep(pair: RunPair, { opened, data, settings, history }: RunParts): Promise<void> {
    if (!this.#usable) return;
    try {
      for (const name of pair.names) await pair.trainer(name)?.save(`${runFolder}/${name}`);
      const { steps, totalSteps } = pair.progress;
      const { source, summary } = data;
      await keepIndex({
        saved: {
          ...{ model: opened.name, data: summary.name, ownData: !keepsData(source), totalSteps },
          ...{ step: Math.min(...Object.values(steps)), savedAt: Date.now() },
        },
        model: opened.source,
        data: keepsData(source) ? { source } : { own: describe(data) },
        settings,
        history: history.toJson(),
      });
    } catch (error) {
      this.#usable = false;
      this.#tell(
        `the run is not kept any more (${messageOf(error)}): it will be lost when its tab is closed`,
      );
    }
    this.#last = performance.now();
  }
}

/** A description of data, to check that the user chose the same data again. */
export const describe = ({ summary }: OpenedData): string =>
  `${summary.name}: ${summary.train} + ${summary.test} samples ${summary.sample}`;

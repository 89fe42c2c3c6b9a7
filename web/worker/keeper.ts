import type { History } from "../history.ts";
import type { Settings } from "../protocol.ts";
import { keepIndex, keepModel, keepsNothing, runFolder, takePlace } from "./kept-run.ts";
import { messageOf } from "./message-of.ts";
import type { OpenedData } from "./open-data.ts";
import type { OpenedModel } from "./open-model.ts";
import type { RunPair } from "./run-pair.ts";

/** What a run is made of. */
export interface RunParts {
  readonly opened: OpenedModel;
  readonly data: OpenedData;
  readonly settings: Settings;
  readonly history: History;
}

let place: Promise<boolean> | undefined;

/** Keeps a run in the page's own storage, so that it can go on after the tab was closed. */
export class Keeper {
  #usable: boolean;
  readonly #tell: (message: string) => void;
  #last = performance.now();

  private constructor(usable: boolean, tell: (message: string) => void) {
    this.#usable = usable;
    this.#tell = tell;
  }

  /** Makes room for a new run, or goes on keeping the one that was kept. Says so where the run will not be kept. */
  static async begin(
    { opened }: RunParts,
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
      if (fresh) await keepModel(opened.source);
      return new Keeper(true, tell);
    } catch (error) {
      tell(`${messageOf(error)}; it will be lost when its tab is closed`);
      return new Keeper(false, tell);
    }
  }

  /** Whether so much time has gone by since the last time that the run should be kept again. */
  get isDue(): boolean {
    return this.#usable && performance.now() - this.#last > 15_000;
  }

  /** Writes both runs as they are. */
  async keep(pair: RunPair, { opened, data, settings, history }: RunParts): Promise<void> {
    if (!this.#usable) return;
    try {
      for (const name of ["plain", "som"] as const) await pair.trainer(name).save(`${runFolder}/${name}`);
      const { steps, totalSteps } = pair.progress;
      const { source, summary } = data;
      await keepIndex({
        saved: {
          ...{ model: opened.name, data: summary.name, ownData: source.kind !== "mnist", totalSteps },
          ...{ step: Math.min(steps.plain, steps.som), savedAt: Date.now() },
        },
        model: opened.source,
        data: source.kind === "mnist" ? { mnist: source } : { own: describe(data) },
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

/** What tells whether the same data were chosen again. */
export const describe = ({ summary }: OpenedData): string =>
  `${summary.name}: ${summary.train} + ${summary.test} samples ${summary.sample}`;

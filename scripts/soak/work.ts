import type { Model, TrainingEvent } from "../../src/index.ts";
import { leakWidth } from "../../test/helpers/leak-model.ts";

/** What the work uses of the library, in node or in a browser. */
export interface Library
  extends Pick<typeof import("../../src/index.ts"), "Trainer" | "arrayDataset" | "crossEntropy" | "sgd"> {
  readonly readModel: (bytes: Uint8Array) => Promise<Model>;
}

/** Features, samples and batch of the trained network: test/helpers/leak-model.ts. */
export const sizes = { width: leakWidth, samples: 512, batch: 8 };

/** What a run does between two readings. Also sent into a page as text, so nothing outside of the function is used. */
export interface Work {
  /** Goes on for some steps. @returns steps done in all */
  steps(count: number): Promise<number>;
  /** Makes a trainer, trains two steps, reads what it learned, and releases it. */
  trainer(): Promise<void>;
  end(): Promise<void>;
}

/**
 * Prepares the work on one backend.
 * @param leak - bytes that each step and each trainer keeps on purpose, to see that this is noticed
 */
export function workOf(
  { Trainer, arrayDataset, crossEntropy, sgd, readModel }: Library,
  given: {
    readonly backend: string;
    readonly file: readonly number[];
    readonly leak: number;
    readonly width: number;
    readonly samples: number;
    readonly batch: number;
  },
): Work {
  const { backend, file, leak, width, samples, batch } = given;
  const x = Float32Array.from({ length: samples * width }, (_, i) => ((i * 7) % 13) / 13);
  const y = Int32Array.from({ length: samples }, (_, i) => i % 10);
  const data = arrayDataset(x, y, [width]);
  const kept: Uint8Array[] = [];
  const keep = () => leak > 0 && kept.push(new Uint8Array(leak).fill(1));
  const make = async () =>
    Trainer.create(await readModel(Uint8Array.from(file)), {
      ...{ objective: crossEntropy(), optimizer: sgd({ momentum: 0.9 }), batch, backend, learningRate: 1e-4 },
    });
  let running: { events: AsyncGenerator<TrainingEvent>; release: () => Promise<void> } | undefined;
  let done = 0;
  return {
    async steps(count) {
      if (!running) {
        const trainer = await make();
        const events = trainer.fit(data, { epochs: 1_000_000 }) as AsyncGenerator<TrainingEvent>;
        running = { events, release: () => trainer.release() };
      }
      for (let step = 0; step < count; ) {
        const { value, done: over } = await running.events.next();
        if (over) throw new Error("the run ended early");
        if (value.event !== "step") continue;
        step++;
        done++;
        keep();
      }
      return done;
    },
    async trainer() {
      const trainer = await make();
      for await (const event of trainer.fit(data, { maxSteps: 2 })) if (event.event === "end") break;
      trainer.export();
      await trainer.release();
      keep();
    },
    async end() {
      await running?.events.return(undefined as never);
      await running?.release();
    },
  };
}

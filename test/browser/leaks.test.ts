import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { leakModel, leakWidth } from "../helpers/leak-model.ts";
import { useTab } from "./tab.ts";

declare const sorth: typeof import("../../src/web.ts");

/** Memory of the processes that this one has begun, in MiB: the browser's, among them that of its software GPU. */
function memoryOfBrowser(): number {
  const parents = new Map<number, number>();
  const memory = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const status = readFileSync(`/proc/${name}/status`, "utf8");
      const field = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
      parents.set(Number(name), field("PPid"));
      memory.set(Number(name), field("RssAnon") / 1024);
    } catch {
      // It has ended meanwhile.
    }
  }
  const begun = (id: number | undefined): boolean => {
    const parent = id === undefined ? undefined : parents.get(id);
    return parent === process.pid || (parent !== undefined && begun(parent));
  };
  return [...memory].reduce((sum, [id, size]) => sum + (begun(id) ? size : 0), 0);
}

/** Begins a run in the page, to be gone on with by {@link goOn}. */
async function begin({ backend, bytes, width }: { backend: string; bytes: number[]; width: number }) {
  const { Trainer, readModel, crossEntropy, sgd, arrayDataset } = sorth;
  const count = 500 * 8;
  const x = Float32Array.from({ length: count * width }, (_, i) => ((i * 7) % 13) / 13);
  const y = Int32Array.from({ length: count }, (_, i) => i % 10);
  const trainer = await Trainer.create(await readModel(Uint8Array.from(bytes)), {
    ...{
      objective: crossEntropy(),
      optimizer: sgd({ momentum: 0.9 }),
      batch: 8,
      backend,
      learningRate: 1e-4,
    },
  });
  Object.assign(globalThis, { events: trainer.fit(arrayDataset(x, y, [width])) });
}

async function goOn(steps: number): Promise<number> {
  const { events } = globalThis as unknown as { events: AsyncGenerator<{ step: number }> };
  let last = 0;
  for (let i = 0; i < steps; i++) {
    const { value } = (await events.next()) as { value: { step: number } };
    last = value.step;
  }
  return last;
}

describe("memory of the browser stays flat over 300 steps", () => {
  const tab = useTab();
  for (const backend of ["wasm", "webgpu"]) {
    it(backend, async (context) => {
      const noProc = process.platform === "linux" ? "" : "memory of processes is read from /proc";
      context.skip(noProc !== "", noProc);
      await tab.page.reload();
      await tab.page.waitForFunction("globalThis.sorth");
      await tab.page.evaluate(begin, { backend, bytes: [...leakModel().bytes], width: leakWidth });
      await tab.page.evaluate(goOn, 100);
      await tab.page.requestGC();
      const before = memoryOfBrowser();
      expect(await tab.page.evaluate(goOn, 300)).toBe(400);
      await tab.page.requestGC();
      const after = memoryOfBrowser();
      expect(before).toBeGreaterThan(0);
      expect(after - before).toBeLessThan(100);
    }, 600_000);
  }
});

/**
 * Times a training step in Chromium, on WebAssembly and WebGPU: this library, ONNX Runtime's last training release, jax-js and TensorFlow.js.
 * Each has its own page in the same browser; they take turns, round by round.
 *
 * npm run bench:browser                 writes bench/results/browser.json and the table in bench/README.md
 * npm run bench:browser -- --rounds 1   fewer than 5 rounds: writes nothing
 *
 * Needs Chromium, a built dist/, and Python for the official artifacts; TensorFlow.js and jax-js are installed into .cache.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Page } from "playwright-core";
import { scriptArguments } from "../../scripts/arguments.ts";
import { messageOf } from "../../src/errors.ts";
import { chromiumFlags, findChromium, isolated, serve } from "../../test/browser/browser.ts";
import { mlp } from "../models.ts";
import { jaxFolder, jaxPackages } from "./jax-page.ts";
import { jobOf } from "./job.ts";
import type { Job } from "./page.ts";
import { type BrowserContender, contenders, tensorflowFolder } from "./pages.ts";
import { report, titleOf } from "./report.ts";

const { values: flags } = scriptArguments(import.meta.url, {
  options: { rounds: { type: "string", default: "5" } },
});
const rounds = Number(flags.rounds);
/** Untimed and timed steps per round. On WebAssembly this library's runs grow to their full length during the untimed ones. */
const steps = { wasm: { warmUp: 40, timed: 40 }, webgpu: { warmUp: 4, timed: 8 } } as const;
const tensorflowVersion = "4.22.0";
/** Longest time for one page. */
const patience = 120_000;

declare function start(job: Job): Promise<void>;
declare function step(): Promise<number>;

const executablePath = findChromium();
if (!executablePath) throw new Error("no Chromium is installed (apt-get install chromium, or CHROMIUM_PATH)");
if (!existsSync("dist/web/index.js")) throw new Error("dist/ is not built (npm run build)");
installPackages(tensorflowFolder, {
  "@tensorflow/tfjs": tensorflowVersion,
  "@tensorflow/tfjs-backend-wasm": tensorflowVersion,
});
installPackages(jaxFolder, jaxPackages);
const model = mlp();
const jobs = { false: await jobOf(model, false), true: await jobOf(model, true) };
const servers = await Promise.all(
  contenders.map(({ page, threads }) => serve(process.cwd(), page, threads > 1 ? isolated : {})),
);
const browser = await chromium.launch({ executablePath, args: chromiumFlags });
const expected = new Map<boolean, [number, number]>();
const times = new Map(contenders.map((contender) => [contender, [] as number[]]));
const failures = new Map<BrowserContender, string>();
for (let round = 0; round < rounds; round++) {
  for (const [i, contender] of contenders.entries()) {
    if (failures.has(contender)) continue;
    const tab = await browser.newPage();
    try {
      const result = await stepsIn(tab, servers[i]?.url ?? "", contender);
      checkLosses(contender, result.losses);
      times.get(contender)?.push(result.milliseconds);
      const losses = result.losses.map((value) => value.toFixed(6)).join(", ");
      console.error(
        `round ${round + 1}: ${titleOf(contender)}: ${result.milliseconds.toFixed(2)} ms, losses ${losses}`,
      );
    } catch (error) {
      failures.set(contender, messageOf(error).split("\n")[0] ?? "");
      console.error(`${titleOf(contender)}: ${failures.get(contender)}`);
    }
    await tab.close();
  }
}
const about = {
  title: model.title,
  chromium: browser.version(),
  versions: { "TensorFlow.js": tensorflowVersion, ...jaxPackages },
  adapter: await adapterOf(servers[1]?.url ?? ""),
};
await browser.close();
for (const server of servers) await server.close();
report(contenders, times, failures, about, rounds >= 5);

/** Starts from scratch and returns the milliseconds per step, and the first two losses. */
async function stepsIn(tab: Page, url: string, { regularized, device }: BrowserContender) {
  let pageError: Error | undefined;
  tab.on("pageerror", (error) => {
    pageError ??= error;
  });
  await tab.goto(url);
  await tab.waitForFunction("globalThis.start", undefined, { timeout: 20_000 }).catch((error) => {
    throw pageError ?? error;
  });
  const work = tab.evaluate(
    async ({ job, warmUp, timed }) => {
      await start(job);
      const losses: number[] = [];
      for (let i = 0; i < warmUp; i++) losses.push(await step());
      const began = performance.now();
      for (let i = 0; i < timed; i++) await step();
      return { losses: losses.slice(0, 2), milliseconds: (performance.now() - began) / timed };
    },
    { job: jobs[`${regularized}`], ...steps[device] },
  );
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${patience / 1000} s`)), patience);
  });
  work.catch(() => {});
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** The WebGPU adapter of the browser, in words; undefined without one. */
async function adapterOf(url: string): Promise<string | undefined> {
  const tab = await browser.newPage();
  await tab.goto(url);
  return tab.evaluate(async () => {
    type Adapter = { info: { vendor: string; architecture: string } } | null;
    const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<Adapter> } };
    const adapter = await gpu?.requestAdapter();
    return adapter ? `${adapter.info.vendor} ${adapter.info.architecture}` : undefined;
  });
}

/** Checks the losses. The first is the same for all; later ones differ slightly, because the optimizers' epsilons do. */
function checkLosses(contender: BrowserContender, [first = Number.NaN, second = Number.NaN]: number[]): void {
  const own = expected.get(contender.regularized);
  if (!own) {
    expected.set(contender.regularized, [first, second]);
    return;
  }
  const firstOff = Math.abs(first / own[0] - 1);
  const secondOff = Math.abs(second / own[1] - 1);
  if (!(firstOff < 1e-4 && secondOff < 2e-2)) {
    throw new Error(`${titleOf(contender)}: losses ${first}, ${second} instead of ${own.join(", ")}`);
  }
}

/** Installs packages into an ignored folder, since only this benchmark needs them. */
function installPackages(folder: string, versions: Readonly<Record<string, string>>): void {
  const wanted = Object.entries(versions).map(([name, version]) => `${name}@${version}`);
  if (Object.keys(versions).every((name) => existsSync(join(folder, "node_modules", name)))) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), "{}");
  execFileSync("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", ...wanted], {
    cwd: folder,
    stdio: "inherit",
  });
}

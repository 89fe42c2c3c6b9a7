import { backendTitles } from "../src/passes/backends/names.ts";
import { runStyles } from "./charts/theme.ts";
import { count, degrees, percent } from "./format.ts";
import type { History } from "./history.ts";
import { type Phase, type Progress, runNames } from "./protocol.ts";

/** Progress of a run: "Epoch 2 of 5, step 120 of 460 on wasm: plain 94.1 %, SOM 95.0 % right; …". */
export function progressText(progress: Progress | undefined, history: History): string {
  if (!progress) return "";
  const { steps, totalSteps, epochs, backend } = progress;
  const titles: Readonly<Record<string, string>> = backendTitles;
  const step = Math.min(...Object.values(steps));
  const perEpoch = Math.max(1, totalSteps / epochs);
  const epoch = Math.min(epochs, Math.floor(step / perEpoch) + 1);
  const place = `Epoch ${count(epoch)} of ${count(epochs)}, step ${count(step)} of ${count(totalSteps)}, on ${titles[backend] ?? backend}`;
  const figures = runNames.flatMap((run) => {
    const test = history.tests(run).at(-1);
    if (!test) return [];
    const right = test.accuracy === undefined ? "" : `${percent(test.accuracy)} right`;
    const angle = test.responseDistance === undefined ? "" : `${degrees(test.responseDistance)} from 90°`;
    return [`${runStyles[run].label} ${[right, angle].filter(Boolean).join(", ")}`];
  });
  return [place, ...figures].join("; ");
}

/** Whether model and data are ready, whether the worker reads one of them, and whether training starts afterwards. */
export interface WhatIsRead {
  readonly ready: boolean;
  readonly reading: boolean;
  readonly wanted: boolean;
}

/** The text of the status line. */
export function phaseText(phase: Phase, read: WhatIsRead, progress: string): string {
  switch (phase) {
    case "idle":
      if (read.wanted) return "Training begins when everything is read …";
      if (read.reading) return "Reading …";
      return read.ready ? "Ready to train." : "Choose a model, and data that fit it.";
    case "starting":
      return "Building the training step …";
    case "running":
      return progress || "Running …";
    case "paused":
      return `Paused. ${progress}`;
    case "finished":
      return `Finished. ${progress}`;
    case "failed":
      return "Stopped.";
  }
}

/** What the browser offers: "WebAssembly: 4 threads · WebGPU: available". */
export function environmentText(threads: number, hasWebGpu: boolean): string {
  const isolated = globalThis.crossOriginIsolated ? "" : " (no COOP and COEP headers)";
  const wasm = `WebAssembly: ${threads === 1 ? "1 thread" : `${threads} threads`}${isolated}`;
  return `${wasm} · WebGPU: ${hasWebGpu ? "available" : "none"}`;
}

import { freemem } from "node:os";
import { formatBytes } from "../report/byte-count.ts";
import type { MemoryEstimate } from "../runtime/memory-estimate.ts";

/**
 * Bytes that checkpoints, the report and the trained model take in addition to the step, whose memory ONNX Runtime keeps: the state once, and
 * memory that is freed late; measured (docs/decisions.md).
 */
const besides = (state: number): number => state + Math.min(2 * state, 300e6);

/**
 * The most memory that the process may take, by an estimate from before its session opens.
 * @param report - bytes for the angles of the run's report, whose session maps the file a second time; undefined without a report
 */
export function memoryText(
  estimate: MemoryEstimate,
  held: number = process.memoryUsage.rss(),
  report?: number,
): string {
  const { added, state, activations, mapped, frozen } = estimate;
  const again = report === undefined ? 0 : mapped + report;
  const parts = [
    `${formatBytes(held)} before the run`,
    `${formatBytes(state)} of parameters and optimizer state, twice or more, ${formatBytes(besides(state))} for checkpoints and the trained model`,
    `${formatBytes(activations)} of activations`,
    ...(frozen - mapped > 0 ? [`${formatBytes(frozen - mapped)} of frozen weights`] : []),
    ...(mapped > 0
      ? [
          `${formatBytes(mapped)} mapped from the model's file${report === undefined ? "" : ", twice for the report"}`,
        ]
      : []),
    ...(report ? [`${formatBytes(report)} for the report's angles`] : []),
  ];
  return `memory: about ${formatBytes(held + added + again + besides(state))} at the peak (${parts.join(", ")})`;
}

/**
 * Calls one of two functions with the text: `now` if the machine lacks so much memory, because the run may be killed before it has
 * said anything, else `later`.
 */
export const tellMemory =
  (later: (text: string) => void, now: (text: string) => void, report?: number) =>
  (estimate: MemoryEstimate): void => {
    const text = memoryText(estimate, undefined, report);
    const free = freemem();
    if (estimate.added - estimate.mapped + (report ?? 0) + besides(estimate.state) <= free) later(text);
    else {
      now(
        `${text}; ${formatBytes(free)} are free: a smaller --batch, --recompute, --checkpoint-every block or --lora needs less`,
      );
    }
  };

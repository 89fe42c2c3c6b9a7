import { freemem } from "node:os";
import { formatBytes } from "../report/byte-count.ts";
import type { MemoryEstimate } from "../runtime/memory-estimate.ts";

/** Copies of the state that checkpoints, the report and the trained model take beside the step, whose memory ONNX Runtime keeps. */
const copies = 3;

/**
 * The most memory that the process may take, by an estimate from before its session opens.
 * @param measures - whether the run measures angles for its report, whose session maps the file a second time
 */
export function memoryText(
  estimate: MemoryEstimate,
  held: number = process.memoryUsage.rss(),
  measures = false,
): string {
  const { added, state, activations, mapped, frozen } = estimate;
  const again = measures ? mapped : 0;
  const parts = [
    `${formatBytes(held)} before the run`,
    `${formatBytes(state)} of parameters and optimizer state in about six copies with those for checkpoints`,
    `${formatBytes(activations)} of activations`,
    ...(frozen - mapped > 0 ? [`${formatBytes(frozen - mapped)} of frozen weights`] : []),
    ...(mapped > 0
      ? [`${formatBytes(mapped)} mapped from the model's file${measures ? ", twice for the report" : ""}`]
      : []),
  ];
  return `memory: about ${formatBytes(held + added + again + copies * state)} at the peak (${parts.join(", ")})`;
}

/**
 * Calls one of two functions with the text: `now` if the machine lacks so much memory, because the run may be killed before it has
 * said anything, else `later`.
 */
export const tellMemory =
  (later: (text: string) => void, now: (text: string) => void, measures = false) =>
  (estimate: MemoryEstimate): void => {
    const text = memoryText(estimate, undefined, measures);
    const free = freemem();
    if (estimate.added - estimate.mapped + copies * estimate.state <= free) later(text);
    else {
      now(
        `${text}; ${formatBytes(free)} are free: a smaller --batch, --recompute, --checkpoint-every block or --lora needs less`,
      );
    }
  };

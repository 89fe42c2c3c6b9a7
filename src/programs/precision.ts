import { UsageError } from "../errors.ts";
import { nameAndOptions, readOptions } from "../name-and-options.ts";
import { type LossScaleOptions, lossScaleDefaults, lossScaleRanges } from "../optimizers/loss-scale.ts";
import { checkedOptions } from "../optimizers/options.ts";

/** How a step computes in half precision. */
export interface HalfPrecision {
  readonly type: "float16" | "bfloat16";
  /** Scaling of the loss; undefined for bfloat16, whose range is that of float32. */
  readonly scaling: LossScaleOptions | undefined;
}

/** Every precision, as options and `--precision` spell it. */
const precisionNames = ["float32", "mixed", "mixed-float16", "mixed-bfloat16"] as const;

/**
 * Reads a precision: `float32`, `mixed` (or `mixed-float16`), `mixed-bfloat16`. Options of the loss scale may follow `mixed`:
 * `mixed:init-scale=1024,growth-interval=200`.
 *
 * @returns undefined for float32
 * @throws UsageError for another name, or an option that it does not have
 */
export function halfPrecision(text: string | undefined): HalfPrecision | undefined {
  const { name, options } = nameAndOptions(text ?? "float32");
  if (!(precisionNames as readonly string[]).includes(name)) {
    throw new UsageError(`there is no precision "${name}"; give one of ${precisionNames.join(", ")}`);
  }
  const isScaled = name === "mixed" || name === "mixed-float16";
  if (!isScaled && options.size > 0) {
    throw new UsageError(`the precision ${name} scales no loss: leave out ${[...options.keys()].join(", ")}`);
  }
  if (name === "float32") return undefined;
  if (!isScaled) return { type: "bfloat16", scaling: undefined };
  const given = readOptions(options, lossScaleDefaults);
  const scaling = checkedOptions(`precision ${name}`, lossScaleDefaults, given, lossScaleRanges);
  return { type: "float16", scaling };
}

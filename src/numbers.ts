import { UsageError } from "./errors.ts";
import { isObject, whatIs } from "./what-is.ts";

/** The numbers that an option takes. */
export interface NumberRange {
  /** The range in words, which complete "must be …" in a message. */
  readonly words: string;
  /** Whether a number is in the range. */
  readonly holds: (value: number) => boolean;
}

/** Tests both the number and its rounding to float32, in which graphs compute: there 1e39 is infinite, and 1e-50 is 0. */
const finite = (words: string, holds: (value: number) => boolean): NumberRange => ({
  words,
  holds: (value) => Number.isFinite(Math.fround(value)) && holds(value) && holds(Math.fround(value)),
});
const whole = (words: string, holds: (value: number) => boolean): NumberRange => ({
  words,
  holds: (value) => Number.isSafeInteger(value) && holds(value),
});

/** Any but NaN and Infinity. */
export const anyNumber = finite("a number", () => true);
export const notNegative = finite("a number of 0 or more", (value) => value >= 0);
export const positive = finite("a number above 0", (value) => value > 0);
/** A number that is added to a divisor, or divides: float32 rounds the product of a smaller number and a correction to 0, and 0/0 is NaN. */
export const divisor = finite("a number above 0 (1e-30 or more)", (value) => value >= 1e-30);
export const aboveOne = finite("a number above 1", (value) => value > 1);
/** Both ends included. */
export const share = finite("a number from 0 to 1", (value) => value >= 0 && value <= 1);
/** Excludes both ends: a share that leaves a remainder. */
export const properShare = finite("a number above 0 and below 1", (value) => value > 0 && value < 1);
/** The share of the past that an average or a direction keeps. */
export const decayRate = finite("a number of at least 0 and below 1", (value) => value >= 0 && value < 1);
export const countFromZero = whole("a whole number of 0 or more", (value) => value >= 0);
export const count = whole("a whole number of 1 or more", (value) => value >= 1);
/** Threads of a session. ONNX Runtime starts as many as it is asked for, and a process that has to start 100,000 of them never gets to work. */
export const threadCount = whole("a whole number from 1 to 256", (value) => value >= 1 && value <= 256);
/** What a random generator takes: two seeds that are equal in 32 bits would give the same numbers. */
export const seedNumber = whole(
  "a whole number from 0 to 4294967295",
  (value) => value >= 0 && value <= 0xffffffff,
);

/**
 * Refuses a number that an option cannot take; one that was not given is fine.
 * @param name - of the option, as the caller wrote it
 * @throws UsageError
 */
export function checkNumber(name: string, value: number | undefined, range: NumberRange): void {
  if (value === undefined || (typeof value === "number" && range.holds(value))) return;
  throw new UsageError(
    `${name} must be ${range.words}, not ${isObject(value) ? whatIs(value) : String(value)}`,
  );
}

/** The number that a text writes in decimals; NaN for others, 0x10 and nothing among them, which `Number` reads. */
export const decimal = (text: string): number =>
  /\d/.test(text) && !/^\s*[+-]?0[xbo]/i.test(text) ? Number(text) : Number.NaN;

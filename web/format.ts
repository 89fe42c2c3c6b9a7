const whole = new Intl.NumberFormat("en");

/** 109,386 */
export const count = (value: number): string => whole.format(value);

/** 95.3 %, with as many digits as this number of samples can resolve. */
export function percent(share: number, samples = 1000): string {
  const digits = Math.max(0, Math.ceil(Math.log10(Math.max(samples, 1))) - 2);
  return `${(100 * share).toFixed(digits)} %`;
}

/** 12.3° */
export const degrees = (angle: number): string => `${angle.toFixed(1)}°`;

/** 0.0312: four significant digits. */
export function loss(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 1e-4 || size >= 1e4 ? value.toExponential(2) : value.toPrecision(4);
}

/** 312 steps/s, or 0.42 steps/s. */
export function speed(stepsPerSecond: number): string {
  if (stepsPerSecond === 0) return "–";
  const digits = stepsPerSecond >= 100 ? 0 : stepsPerSecond >= 10 ? 1 : 2;
  return `${stepsPerSecond.toFixed(digits)} steps/s`;
}

/** "1 layer", "3 layers". */
export const plural = (number: number, noun: string): string =>
  `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

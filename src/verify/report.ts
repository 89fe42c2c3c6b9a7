/** One check of verify. */
export interface VerifyCheck {
  /** What was checked, and on which layer. */
  readonly name: string;
  /** `noted`: information, or something that could not be checked; never a failure. */
  readonly status: "passed" | "failed" | "noted";
  /** The finding, in words. */
  readonly detail: string;
  /** The measured error or difference, if there is one. */
  readonly figure?: number;
  /** The largest permitted figure. */
  readonly limit?: number;
}

/** The result of verify. */
export interface VerifyReport {
  /** No check failed. */
  readonly passed: boolean;
  readonly checks: readonly VerifyCheck[];
}

/** A check that passes or fails. */
export const check = (name: string, holds: boolean, detail: string): VerifyCheck => ({
  name,
  status: holds ? "passed" : "failed",
  detail,
});

/** A check that a figure is within its limit; NaN fails. */
export const within = (name: string, figure: number, limit: number, detail: string): VerifyCheck => ({
  ...check(name, figure <= limit, detail),
  figure,
  limit,
});

/** Information that is never a failure. */
export const note = (name: string, detail: string, figure?: number): VerifyCheck => ({
  name,
  status: "noted",
  detail,
  ...(figure !== undefined && { figure }),
});

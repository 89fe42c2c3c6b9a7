/** One thing that verify looked at. */
export interface VerifyCheck {
  /** What was checked, and on which layer. */
  readonly name: string;
  /** `noted`: a figure to know, or something that could not be checked; it fails nothing. */
  readonly status: "passed" | "failed" | "noted";
  /** What was found, in words. */
  readonly detail: string;
  /** The measured error or difference, where there is one. */
  readonly figure?: number;
  /** What the figure must not exceed. */
  readonly limit?: number;
}

/** What verify found. */
export interface VerifyReport {
  /** No check failed. */
  readonly passed: boolean;
  readonly checks: readonly VerifyCheck[];
}

/** A check that holds or does not. */
export const check = (name: string, holds: boolean, detail: string): VerifyCheck => ({
  name,
  status: holds ? "passed" : "failed",
  detail,
});

/** A check that a figure stays within its limit; NaN does not. */
export const within = (name: string, figure: number, limit: number, detail: string): VerifyCheck => ({
  ...check(name, figure <= limit, detail),
  figure,
  limit,
});

/** Something to know that fails nothing. */
export const note = (name: string, detail: string, figure?: number): VerifyCheck => ({
  name,
  status: "noted",
  detail,
  ...(figure !== undefined && { figure }),
});

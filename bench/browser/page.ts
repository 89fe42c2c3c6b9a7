/** The data for a page, with numbers as base64. */
export interface Job {
  /** Model or artifacts by file name. */
  readonly files: Readonly<Record<string, string>>;
  readonly x: string;
  readonly labels: string;
  readonly batch: number;
  readonly features: number;
  readonly learningRate: number;
  readonly penaltyWeight: number;
}

/** Functions of every page that read a {@link Job}. */
export const helpers = `
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const integers = (text) => new Int32Array(bytes(text).buffer);`;

import { withOptions } from "./told-options.ts";
import { visible } from "./visible.ts";

/**
 * The kind of an error, for programs that act on it:
 *
 * - `usage`: the call itself was wrong: an unknown option, a value out of range, options that contradict each other
 * - `model`: the model cannot be used for this: an operator without a derivative, no layer that takes the penalty
 * - `data`: samples, labels or feeds do not fit the model, or cannot be understood
 * - `file`: a file or folder cannot be read or written, or is damaged: models, data, checkpoints
 * - `runtime`: ONNX Runtime is not installed, does not start, or refuses a graph
 * - `device`: the backend is not available here, lacks an operator, or was lost
 * - `numeric`: the loss or another figure is no longer a finite number
 */
export type ErrorCode = "usage" | "model" | "data" | "file" | "runtime" | "device" | "numeric";

/**
 * An error meant for the user: one line that says what is wrong, where (file, node, value) and what to do.
 * The command line prints its message without a stack and exits with {@link SorthError.exitCode}.
 *
 * @example
 * try {
 *   await Trainer.create(model, { objective: crossEntropy(), backend: "webgpu" });
 * } catch (error) {
 *   if (!(error instanceof SorthError) || error.code !== "device") throw error;
 *   console.log(`no GPU: ${error.message}`);
 * }
 */
export class SorthError extends Error {
  override readonly name: string = "SorthError";
  /** What kind of error it is. */
  readonly code: ErrorCode;

  /**
   * @param message - what is wrong, where, and what to do: one line. Line breaks and control characters, which names and
   * texts of a file may hold, are escaped; the middle of a message that would fill the screen is left out
   * @param options - the error behind it, and its kind: by default that of the error behind it, or `model`
   */
  constructor(message: string, { code, ...options }: ErrorOptions & { readonly code?: ErrorCode } = {}) {
    super(withOptions(shortened(visible(message.replace(/\s*[\r\n]+\s*/g, " ")))), options);
    this.code = code ?? (options.cause instanceof SorthError ? options.cause.code : "model");
  }

  /** Exit code of the command line. 1: the work failed. 2: the call itself was wrong. */
  get exitCode(): 1 | 2 {
    return this.code === "usage" ? 2 : 1;
  }
}

/** A file may hold names and shapes of any length; a message shows where they begin, and says at its end what to do. */
function shortened(message: string): string {
  return message.length > 2000 ? `${message.slice(0, 1400)} … ${message.slice(-590)}` : message;
}

/** The call itself was wrong (an unknown option, a value out of range): exit code 2 on the command line. */
export class UsageError extends SorthError {
  override readonly name = "UsageError";
  override readonly code = "usage";
}

/** Samples, labels or feeds do not fit the model, or cannot be understood. */
export class DataError extends SorthError {
  override readonly code = "data";
}

/** A file or folder cannot be read or written, or is damaged. */
export class FileError extends SorthError {
  override readonly code = "file";
}

/** ONNX Runtime is not installed, does not start, or refuses a graph. */
export class RuntimeError extends SorthError {
  override readonly code = "runtime";
}

/** The backend is not available here, lacks an operator, or was lost. */
export class DeviceError extends SorthError {
  override readonly code = "device";
}

/** The loss or another figure is no longer a finite number. */
export class NumericError extends SorthError {
  override readonly code = "numeric";
}

/** The message of anything thrown, for use inside another message. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Names for a message: the first few, in quotes. */
export function listed(names: readonly string[]): string {
  const most = 8;
  const quoted = names.slice(0, most).map((name) => `"${name}"`);
  return names.length > most ? `${quoted.join(", ")} and ${names.length - most} more` : quoted.join(", ");
}

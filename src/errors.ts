/**
 * An error meant for the user: one line that says what is wrong, where (file, node, value) and what to do.
 * The command line prints its message without a stack and exits with {@link SorthError.exitCode}.
 */
export class SorthError extends Error {
  override readonly name: string = "SorthError";
  /** 1: the work failed. 2: the call itself was wrong. */
  readonly exitCode: 1 | 2 = 1;
}

/** The call itself was wrong (an unknown option, a value out of range): exit code 2 on the command line. */
export class UsageError extends SorthError {
  override readonly name = "UsageError";
  override readonly exitCode = 2;
}

/** The message of anything thrown, for use inside another message. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Names for a message: the first few, in quotes. */
export function listed(names: readonly string[], most = 8): string {
  const quoted = names.slice(0, most).map((name) => `"${name}"`);
  return names.length > most ? `${quoted.join(", ")} and ${names.length - most} more` : quoted.join(", ");
}

/**
 * A regular expression that can be used: an engine refuses one that is too large only at its first use.
 * @throws SyntaxError for a text that is not a regular expression, or is too large
 */
export function regularExpression(source: string, flags = ""): RegExp {
  // The test runs on a second copy, because a global expression remembers where its last test stopped.
  new RegExp(source, flags).test("");
  return new RegExp(source, flags);
}

/**
 * A regular expression that can be used: an engine refuses one that is too large only at its first use.
 * @throws SyntaxError for a text that is none, or is too large
 */
export function regularExpression(source: string, flags = ""): RegExp {
  // Another one than is returned, since a global one remembers where it stopped.
  new RegExp(source, flags).test("");
  return new RegExp(source, flags);
}

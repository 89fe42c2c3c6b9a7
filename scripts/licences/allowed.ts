/** Licences that ask for nothing but their text and the names of the authors, or for nothing at all. */
export const allowed: ReadonlySet<string> = new Set([
  ...["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "Unlicense"],
]);

/** Packages with another licence, and why they may be installed beside this one. Nothing here may be bundled. */
export const exceptions: readonly {
  readonly name: RegExp;
  readonly licence: string;
  readonly reason: string;
}[] = [
  {
    name: /^@img\/sharp-(libvips-|wasm32$|win32-)/,
    licence: "LGPL-3.0-or-later",
    reason: "libvips of sharp: an optional package of its own that is linked dynamically and never bundled",
  },
];

/**
 * Why a package's licence is not allowed, or undefined.
 * @param expression - an SPDX expression of identifiers, AND, OR and parentheses, as package.json has it
 */
export function fault(name: string, expression: string | undefined): string | undefined {
  if (expression === undefined || expression === "") return "it states no licence";
  const isAllowed = (id: string) =>
    allowed.has(id) || exceptions.some((one) => one.licence === id && one.name.test(name));
  const words = expression.match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;
  // either := all { "OR" all };  all := one { "AND" one };  one := "(" either ")" | identifier
  const either = (): boolean => {
    let result = all();
    while (words[at] === "OR") {
      at++;
      result = all() || result;
    }
    return result;
  };
  const all = (): boolean => {
    let result = one();
    while (words[at] === "AND") {
      at++;
      result = one() && result;
    }
    return result;
  };
  const one = (): boolean => {
    const word = words[at++];
    if (word !== "(") return word !== undefined && isAllowed(word);
    const result = either();
    return words[at++] === ")" && result;
  };
  const holds = either();
  if (at !== words.length) return `its licence cannot be read: ${expression}`;
  return holds ? undefined : `its licence is not allowed: ${expression}`;
}

/** Whether something is an object, and not null. */
export const isObject = (given: unknown): given is object => typeof given === "object" && given !== null;

/** What somebody gave, for messages. */
export function whatIs(given: unknown): string {
  if (typeof given === "function") return "a function";
  if (!isObject(given))
    return typeof given === "string" ? `the text ${JSON.stringify(given)}` : String(given);
  const name = given.constructor?.name || "Object";
  if (name === "Promise") return "a promise: await it";
  return `${/^[AEIOU]/.test(name) ? "an" : "a"} ${name}`;
}

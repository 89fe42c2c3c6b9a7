/** What a JSON text says; undefined for a text that is none. Its reader says what is wrong then, and checks the rest. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

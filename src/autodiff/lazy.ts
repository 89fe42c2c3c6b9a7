/** Returns a function that builds its value on the first call and returns the same value afterwards. */
export function lazy<T>(build: () => T): () => T {
  let known: { value: T } | undefined;
  return () => {
    known ??= { value: build() };
    return known.value;
  };
}

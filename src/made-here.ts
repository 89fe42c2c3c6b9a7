const made = new WeakSet<object>();

/** Marks a value as one that this package can make again from its name and options, as a checkpoint keeps them. */
export function madeHere<T extends object>(value: T): T {
  made.add(value);
  return value;
}

/** Whether {@link madeHere} marked this value; a copy of it with other functions is not marked. */
export const isMadeHere = (value: object): boolean => made.has(value);

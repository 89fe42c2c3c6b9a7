/**
 * A table that is looked up by names from files: it has its own entries and none of what every object has, such as
 * `constructor`.
 */
export const tableOf = <T extends object>(entries: T): T => Object.assign(Object.create(null), entries);

/** The record's own value under a name from a file; undefined for a name that only every object has. */
export const ownIn = <Of>(record: Readonly<Record<string, Of>>, name: string): Of | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined;

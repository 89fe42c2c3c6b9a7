/**
 * A table that is looked up by names from files: it has its own entries and none of what every object has, such as
 * `constructor`.
 */
export const tableOf = <T extends object>(entries: T): T => Object.assign(Object.create(null), entries);

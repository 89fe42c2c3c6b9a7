import { SorthError } from "../errors.ts";

/** This many doubles take 16 MiB, and a few times as much while the list is made. */
const mostStored = 2 ** 21;

/**
 * A few bytes of a file can state any size, and lists of positions and weights by size are made while a graph is built.
 * @param count - entries of such a list
 * @param each - what an entry takes, in numbers: more where it is a pair, or becomes nodes
 * @throws SorthError where the list would fill the memory
 */
export function checkStored(count: number, each = 1): void {
  if (count * each > mostStored)
    throw new SorthError(
      `it would need a list of ${count} positions or weights in memory: use smaller sizes (--batch, --dim)`,
    );
}

/** The list of `at(0)`, `at(1)`, … `at(n − 1)`. */
export function listed(n: number, at: (i: number) => number = (i) => i): Int32Array {
  checkStored(n);
  return Int32Array.from({ length: n }, (_, i) => at(i));
}

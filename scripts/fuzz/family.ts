import type { Chance } from "./chance.ts";

/** The files of a case by their names in its folder (with `/` for subfolders). */
export type Files = Map<string, Uint8Array>;

/** Something that holds for every input, and did not: a written file that does not open, other bytes after `strip`. */
export class Broken extends Error {}

/** A kind of input, and the functions of the library that read it. */
export interface Family {
  readonly name: string;
  /** Share of the cases. */
  readonly weight: number;
  /**
   * Makes the files of a case: seeds with changes.
   * @param seeds - folder of what {@link makeSeeds} has written
   */
  readonly files: (chance: Chance, seeds: string) => Promise<Files>;
  /** Whether an entry may write into the folder of its files, as a resumed run does. */
  readonly changesInput?: true;
  /** What is called on the folder that holds the files; `out` is a folder for what it writes, empty before and after an error. */
  readonly entries: Readonly<Record<string, (folder: string, out: string) => Promise<unknown>>>;
}

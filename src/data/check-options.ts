import { checkChoice, checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, count, seedNumber } from "../numbers.ts";
import type { DataOptions } from "./options.ts";
import { truncations } from "./text/tokenizer.ts";

const names = {
  ...{ model: true, dims: true, conversion: true, label: true, targets: true, columns: true, missing: true },
  ...{ standardize: true, tokenizer: true, length: true, text: true, apart: true, truncation: true },
  ...{ languageModel: true, resize: true, augment: true, validation: true, seed: true },
} as const satisfies OptionNames<DataOptions>;

/** @throws UsageError for an option that loadData does not have, or a value that an option does not take */
export function checkDataOptions(options: DataOptions): void {
  checkKnown("loadData", options, names);
  checkChoice("missing (--missing)", options.missing, ["mean", "zero", "drop"]);
  checkChoice("resize (--resize)", options.resize, ["crop", "stretch"]);
  checkChoice("truncation (--truncation)", options.truncation, truncations);
  for (const name of ["standardize", "apart", "languageModel"] as const) {
    checkChoice(name, options[name], [true, false]);
  }
  checkNumber("length (--length)", options.length, count);
  checkNumber("the seed", options.seed, seedNumber);
}

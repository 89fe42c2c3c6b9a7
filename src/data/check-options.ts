import { checkFields, checkText } from "../check-arguments.ts";
import { checkChoice, checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, count, properShare, seedNumber } from "../numbers.ts";
import { checkModel } from "../onnx/check-model.ts";
import type { DataOptions } from "./options.ts";
import { truncations } from "./text/tokenizer.ts";

const names = {
  ...{
    model: true,
    dims: "lengths",
    conversion: true,
    label: "text",
    targets: "list",
    columns: "list",
    classes: "list",
    missing: true,
  },
  ...{ standardize: "flag", tokenizer: "text", length: true, text: "text", apart: "flag", truncation: true },
  ...{ languageModel: "flag", resize: true, augment: true, validation: true, seed: true },
} as const satisfies OptionNames<DataOptions>;

/** @throws UsageError for an option that loadData does not have, or a value that an option does not take */
export function checkDataOptions(options: DataOptions): void {
  checkKnown("loadData", options, names);
  checkChoice("missing (--missing)", options.missing, ["mean", "zero", "drop"]);
  checkChoice("resize (--resize)", options.resize, ["crop", "stretch"]);
  checkChoice("truncation (--truncation)", options.truncation, truncations);
  for (const name of ["columns", "targets", "classes"] as const) {
    for (const column of options[name] ?? []) checkText(`what ${name} lists`, column);
  }
  if (options.model !== undefined) checkModel(options.model);
  const made = "a conversion is what loadData or conversionOf gives";
  if (options.conversion !== undefined) checkFields(made, options.conversion, "version");
  if (options.validation !== 0) {
    checkNumber("the share of the data for validation", options.validation, properShare);
  }
  checkNumber("length (--length)", options.length, count);
  checkNumber("the seed", options.seed, seedNumber);
}

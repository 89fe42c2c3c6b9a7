import { type MaskedLmOptions, maskedLm } from "../../losses/masked-lm.ts";
import { type AnyObjective, isObjective } from "../../losses/terms.ts";
import type { TextConversion } from "./conversion.ts";

/** An objective that masks tokens, with the mask token and the special tokens of the texts' tokenizer where it has none. */
export function objectiveOfTexts<O extends AnyObjective>(objective: O, text: TextConversion | undefined): O;
export function objectiveOfTexts(objective: AnyObjective, text: TextConversion | undefined): AnyObjective {
  if (!isObjective(objective) || objective.name !== "masked-lm" || !text) return objective;
  const own = objective.options as MaskedLmOptions;
  const { maskToken, specialTokens } = text;
  return maskedLm({
    ...own,
    ...(own.maskToken === "none" && maskToken !== undefined && { maskToken }),
    ...(own.specialTokens === "none" && { specialTokens }),
  });
}

/** Flags of the command line whose option in code has another name. */
const others: ReadonlyMap<string, string> = new Map([
  ["dim", "dims"],
  ["lr", "learningRate"],
  ["prediction", "output"],
  ["apply", "applyPenalties"],
  ["share", "penaltyShare"],
  ["weight", "penaltyWeight"],
  ["group", "groups"],
  ["penalty", "penalties"],
  ["no-early-stop", "earlyStop: false"],
]);

/** Flags whose option has the same name, without hyphens: `--ignore-index` is `ignoreIndex`. */
const same = new Set(
  [
    "allow-fallback backend batch batch-norm budget buckets checkpoint-every classes columns detach ema exact",
    "exclude force freeze full ignore-index include jacobian jvp keep keep-penalty label length limit lora loss",
    "max-steps metrics missing monitor no-decay normalize objective of op optimizer other-data penalty-schedule",
    "precision recompute resize running-variance standardize steps-per-run straight-through swa teacher text tie",
    "tokenizer trainable truncation untie validation vjp weight-decay workers wrt",
  ].flatMap((line) => line.split(" ")),
);

const camelCase = (flag: string): string =>
  flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** The options that flags in a message stand for, where it does not name them itself. */
function optionsIn(message: string): string[] {
  const flags = [...message.matchAll(/(?<![\w-])--([a-z][a-z-]*[a-z])/g)].map(([, flag = ""]) => flag);
  return [...new Set(flags)].flatMap((flag) => {
    const option = others.get(flag) ?? (same.has(flag) ? camelCase(flag) : undefined);
    if (option === undefined) return [];
    // `leave buckets out (--buckets)` names the option, and so does `ignoreIndex` anywhere.
    const [name = ""] = option.split(":");
    const where = /[A-Z]/.test(name) ? "" : `( \\w+)? \\(--${flag}(?![\\w-])`;
    return new RegExp(`(?<![\\w-])${name}(?!\\w)${where}`).test(message) ? [] : [option];
  });
}

const suffix = / \(in code: [^()]*\)/g;

/** A message without the options that {@link withOptions} adds, for readers who know the flags. */
export const withoutOptions = (text: string): string => text.replace(suffix, "");

/**
 * The message with the options of the library that its flags of the command line stand for:
 * `give it with --dim x.1=N (in code: dims)`. The command line leaves them out again.
 */
export function withOptions(message: string): string {
  // Of messages inside of others too.
  const bare = withoutOptions(message);
  const options = optionsIn(bare);
  return options.length === 0 ? bare : `${bare} (in code: ${options.join(", ")})`;
}

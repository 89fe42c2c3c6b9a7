import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type ParseArgsConfig, parseArgs } from "node:util";

/**
 * The arguments of a script. `--help` prints the comment at the top of the script's file and exits. An unknown argument
 * prints one line and exits with code 2.
 * @param script - `import.meta.url` of the script
 *
 * @example
 * const { values, positionals } = scriptArguments(import.meta.url, { options: { quick: { type: "boolean" } } });
 */
export function scriptArguments<Config extends ParseArgsConfig>(
  script: string,
  config: Config,
): ReturnType<typeof parseArgs<Config>> {
  if (process.argv.includes("--help") || process.argv.includes("-h")) {
    console.log(leadingComment(readFileSync(fileURLToPath(script), "utf8")));
    process.exit(0);
  }
  try {
    return parseArgs(config);
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : error} (--help lists the arguments)`);
    process.exit(2);
  }
}

/** The text of the comment at the beginning of a file. */
function leadingComment(source: string): string {
  const [, comment = ""] = /^\/\*\*\n([\s\S]*?)\*\//.exec(source) ?? [];
  return comment.replace(/^ ?\* ?/gm, "").trim();
}

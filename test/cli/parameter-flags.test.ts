import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { addParameterFlags, parametersOf } from "../../src/cli/parameter-flags.ts";

/** The library's options of a command line. */
function parsed(...argv: string[]) {
  const command = new Command().exitOverride();
  addParameterFlags(command);
  return parametersOf(command.parse(argv, { from: "user" }).opts());
}

describe("flags that choose parameters", () => {
  test("--trainable +RE adds to what is trained, without the plus it is all that is trained", () => {
    expect(parsed("--trainable", "^head")).toEqual({ trainable: /^head/ });
    expect(parsed("--trainable", "+^delta$")).toEqual({ alsoTrain: /^delta$/ });
    expect(parsed("--trainable", "^head", "--trainable", "+^delta$")).toEqual({
      ...{ trainable: /^head/, alsoTrain: /^delta$/ },
    });
  });

  test("each may be given several times: none is lost", () => {
    const { freeze, trainable } = parsed(
      ...["--freeze", "^a", "--freeze", "^b", "--trainable", "c$", "--trainable", "d$"],
    );
    expect(["a", "b", "c", "ab"].map((name) => freeze?.test(name))).toEqual([true, true, false, true]);
    expect(["c", "d", "a"].map((name) => trainable?.test(name))).toEqual([true, true, false]);
  });
});

import { readFileSync } from "node:fs";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { addAdapterFlags } from "../../src/cli/adapter-flags.ts";
import { addParameterFlags, parametersOf } from "../../src/cli/parameter-flags.ts";
import { addPartFlags, partOf } from "../../src/cli/part-flags.ts";
import { decodeModel } from "../../src/index.ts";

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

describe("flags that train a part alone", () => {
  const part = (...argv: string[]) => {
    const command = new Command().exitOverride();
    addParameterFlags(command);
    addAdapterFlags(command);
    addPartFlags(command);
    const flags = command.parse(argv, { from: "user" }).opts();
    return partOf(decodeModel(readFileSync("models/cnn.onnx")), flags, false, () => {});
  };

  test("choose parameters of the model", async () => {
    expect(await part()).toBeUndefined();
    expect((await part("--bitfit", "--freeze", "bn[1-4]"))?.source).toBe("^(?:bn5\\.bias|logits\\.bias)$");
    expect((await part("--last-blocks", "1", "--freeze", "bias"))?.test("conv5.weight")).toBe(true);
  });

  test.each([
    [["--bitfit", "--last-blocks", "1"], "--bitfit and --last-blocks each say what is trained"],
    [["--bitfit", "--trainable", "fc"], "--bitfit and --trainable each say what is trained"],
    [["--last-blocks", "1", "--lora"], "--last-blocks and --lora each say what is trained"],
  ])("%j contradict each other", async (argv, message) => {
    await expect(part(...argv)).rejects.toThrow(message);
  });
});

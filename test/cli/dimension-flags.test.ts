import { Command } from "commander";
import { expect, test } from "vitest";
import { addDimensionFlags, dimensionsOf } from "../../src/cli/dimension-flags.ts";

const parsed = (...words: string[]) => {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  addDimensionFlags(command, "batch");
  return dimensionsOf(command.parse(words, { from: "user" }).opts());
};

test.each([
  [["--dim", "H=8,W=9"]],
  [["--dim", "H=8", "--dim", "W=9"]],
  [["--dim", "H=7,W=9", "--dim", "H=8"]],
])("%j names two lengths", (words) => {
  expect(parsed("--batch", "2", ...words)).toEqual({ batch: 2, dims: { H: 8, W: 9 } });
});

test.each(["H=8,W", "H=8,W=x", "H,W"])("%s is refused", (word) => {
  expect(() => parsed("--dim", word)).toThrow(/NAME=SIZE|number/);
});

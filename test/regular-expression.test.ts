import { describe, expect, it } from "vitest";
import { patternOf } from "../src/optimizers/options.ts";
import { parsePlan } from "../src/penalties/text.ts";
import { regularExpression } from "../src/regular-expression.ts";

describe("a regular expression that is too large for the engine", () => {
  const large = "y".repeat(200_000);

  it.each([
    ["is refused at once", () => regularExpression(large), "too large"],
    ["in an option of an optimizer", () => patternOf(large), "is no regular expression"],
    ["that chooses layers", () => parsePlan(`so:include=${large}`), "is no regular expression"],
  ])("%s", (_, make, says) => expect(make).toThrow(says));

  it("a global one begins at the start", () => expect(regularExpression("", "g").lastIndex).toBe(0));
});

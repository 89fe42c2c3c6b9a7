import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { writeModel } from "../../src/index.ts";
import { cli, temporaryFolder } from "../cli/run-cli.ts";
import { smallModel } from "./small-model.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
afterAll(() => folder.remove());

test("what is said of the joint batch is said once", async () => {
  await writeModel(smallModel(), at("once.onnx"));
  for (const parts of [
    ["--workers", "2", "--exact"],
    ["--workers", "1"],
  ]) {
    const words = [...parts, "--batch", "4", "--penalty", "som", "-o", at("once"), "--force"];
    const { code, stderr } = await cli("distribute", at("once.onnx"), ...words);
    expect({ code, said: stderr.match(/4 rows for 8 units/g) }).toEqual({
      code: 0,
      said: ["4 rows for 8 units"],
    });
  }
});

test.each([
  { flags: ["--penalty", "so"], says: undefined },
  {
    flags: ["--penalty", "none", "--class-weights", "1,2,1"],
    says: /^means over what counts in the loss .* 4 samples/m,
  },
  {
    flags: ["--penalty", "none", "--objective", "contrastive"],
    says: /^contrastive, which compares the samples of a batch: each of the 2 parts .*; one worker takes the joint batch$/m,
  },
])("what each part of a batch has of its own is said: $flags", async ({ flags, says }) => {
  await writeModel(smallModel(), at("model.onnx"), { force: true });
  const words = ["-o", at("shared"), "--workers", "2", "--batch", "8", "--force", ...flags];
  const { code, stderr } = await cli("distribute", at("model.onnx"), ...words);
  expect(code).toBe(0);
  if (says) expect(stderr).toMatch(says);
  else expect(stderr).not.toContain("each of the 2 parts");
  // The trained model says which loss it was trained with, also where the data come later.
  const { data } = JSON.parse(readFileSync(at("shared/contract.json"), "utf8"));
  const index = flags.indexOf("--objective");
  expect(data.conversion.objective.name).toBe(index < 0 ? "cross-entropy" : flags[index + 1]);
});

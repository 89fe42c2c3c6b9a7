import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { families } from "../../scripts/fuzz/families/table.ts";
import { runCase } from "../../scripts/fuzz/run-case.ts";
import { filesIn } from "../../scripts/fuzz/seeds.ts";

const corpus = new URL("../fixtures/fuzz", import.meta.url).pathname;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-corpus-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("input that was once handled badly (npm run fuzz) is done or refused", async () => {
  test.each(await readdir(corpus))("%s", async (name) => {
    const files = await filesIn(join(corpus, name));
    files.delete("case.json");
    const { family: kind, entry } = JSON.parse(await readFile(join(corpus, name, "case.json"), "utf8"));
    const family = families.find((one) => one.name === kind);
    if (!family?.entries[entry]) throw new Error(`no entry "${entry}" in the family "${kind}"`);
    const outcome = await runCase({ family, entry, files }, join(folder, name));
    expect(outcome.kind, outcome.message).not.toBe("fault");
  });
});

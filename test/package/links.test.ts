import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { deadLinks, filesIn } from "../../scripts/dead-links.ts";

it("finds links to files and anchors that are missing, and those from the root of a host", () => {
  const folder = mkdtempSync(join(tmpdir(), "sorth-links-"));
  const page = join(folder, "index.html");
  const guide = join(folder, "guide.md");
  writeFileSync(
    page,
    '<p id="here"><a href="#here">1</a><a href="#gone">2</a><a href="guide.md#two-words">3</a><img src="no.png"><a href="/guide.md">4</a><a href="https://x.org/">5</a></p>',
  );
  writeFileSync(guide, "## Two words\n\n[a](index.html#here) [b](gone.md) [c](#two-words) `[d](code)`\n");
  const found = deadLinks([page, guide]).map((text) => text.replace(/^.*?([^/]+) →/, "$1 →"));
  rmSync(folder, { recursive: true });
  expect(found).toEqual([
    "index.html → #gone",
    "index.html → no.png",
    "index.html → /guide.md",
    "guide.md → gone.md",
  ]);
});

it("the repository's documents lead nowhere that is missing", () => {
  const listed = ["docs", "examples", "bench", "experiments", "test", "scripts"].flatMap((folder) =>
    filesIn(folder, ".md"),
  );
  const files = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", ...listed];
  const links = files.map((file) => readFileSync(file, "utf8").split("](").length - 1);
  expect(links.reduce((a, b) => a + b, 0)).toBeGreaterThan(100);
  expect(deadLinks(files)).toEqual([]);
});

import { mkdirSync, writeFileSync } from "node:fs";
import type { SerializedError } from "@vitest/utils";
import type { Reporter, TestCase, TestModule } from "vitest/node";

/** Prints every skipped test with its reason, then one line alone: `N passed, N failed, N skipped`. */
export default class TestSummary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const withState = (state: string) => tests.filter((test) => test.result().state === state);
    const skipped = withState("skipped");
    for (const reason of new Set(skipped.map(reasonOf))) {
      const names = skipped.filter((test) => reasonOf(test) === reason).map((test) => test.fullName);
      console.log(`skipped ${names.length}: ${reason} (${names[0]}${names.length > 1 ? ", …" : ""})`);
    }
    // A file that does not load, or an error outside of any test, is a failure too.
    const broken = modules.filter((module) => module.errors().length > 0).length + unhandled.length;
    const failed = withState("failed").length + broken;
    const line = `${withState("passed").length} passed, ${failed} failed, ${skipped.length} skipped`;
    mkdirSync("out", { recursive: true });
    writeFileSync("out/test-summary.txt", `${line}\n`);
    console.log(line);
  }
}

function reasonOf(test: TestCase): string {
  const result = test.result();
  return (result.state === "skipped" && result.note) || "no reason given";
}

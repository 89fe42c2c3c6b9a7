import { mkdirSync, writeFileSync } from "node:fs";
import type { SerializedError } from "@vitest/utils";
import type { Reporter, TestCase, TestModule } from "vitest/node";

/** Number of slowest test files to print with their time. */
const slowest = 12;

/**
 * Prints the slowest test files with their times, the skipped tests with their reasons, and a last line
 * `N passed, N failed, N skipped`.
 */
export default class TestSummary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    printSlowest(modules);
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const withState = (state: string) => tests.filter((test) => test.result().state === state);
    const skipped = withState("skipped");
    for (const reason of new Set(skipped.map(reasonOf))) {
      const names = skipped.filter((test) => reasonOf(test) === reason).map((test) => test.fullName);
      console.log(`skipped ${names.length}: ${reason} (${names[0]}${names.length > 1 ? ", …" : ""})`);
    }
    // A file that does not load, and an error outside any test, also count as failures.
    const broken = modules.filter((module) => module.errors().length > 0).length + unhandled.length;
    const failed = withState("failed").length + broken;
    const line = `${withState("passed").length} passed, ${failed} failed, ${skipped.length} skipped`;
    mkdirSync("out", { recursive: true });
    writeFileSync("out/test-summary.txt", `${line}\n`);
    console.log(line);
  }
}

/** Prints the slowest files, so that a slow test is noticed when it is added. */
function printSlowest(modules: readonly TestModule[]): void {
  const timed = modules.map((module) => {
    const { duration, setupDuration, collectDuration } = module.diagnostic();
    return { name: module.relativeModuleId, seconds: (duration + setupDuration + collectDuration) / 1000 };
  });
  timed.sort((a, b) => b.seconds - a.seconds);
  const total = timed.reduce((sum, { seconds }) => sum + seconds, 0);
  console.log(`${timed.length} test files, ${total.toFixed(0)} s one after another; the slowest:`);
  for (const { name, seconds } of timed.slice(0, slowest)) {
    console.log(`${seconds.toFixed(1).padStart(7)} s  ${name}`);
  }
}

function reasonOf(test: TestCase): string {
  const result = test.result();
  return (result.state === "skipped" && result.note) || "no reason given";
}

import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The slowest files, the slowest first, as `npm test` lists them at its end. */
const slowest = [
  "passes/backends/browser-rules",
  "passes/backends/webgpu-rules",
  "browser/training",
  "browser/page",
  "browser/page-runs",
  "browser/penalties",
  "package/readme",
  "browser/page-images",
  "browser/leaks",
  "runtime/webgpu",
  "runtime/webgpu-penalties",
  "autodiff/second-order",
  "runtime/leaks",
  "package/web-vite",
  "cli/reference",
  "autodiff/rules",
  "penalties/torch",
  "penalties/penalties",
  "package/api",
  "browser/report",
  "browser/page-hosting",
  "browser/page-files",
  "verify/layers",
];

/**
 * Begins with the slowest files, so that no core waits at the end for one long file on another. Vitest does so only where an
 * earlier run left its times, which a fresh clone lacks. Files that share a process come last and together: one of another
 * project between them ends the process.
 */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const found = slowest.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return found < 0 ? slowest.length : found;
    };
    return (await super.sort(files)).sort(
      (a, b) => place(a) - place(b) || a.project.name.localeCompare(b.project.name),
    );
  }
}

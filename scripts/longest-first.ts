import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The slowest files, the slowest first, as `npm test` lists them at its end. */
const slowest = [
  "package/readme",
  "browser/page-runs",
  "browser/page",
  "passes/backends/webgpu-rules",
  "passes/backends/browser-rules",
  "browser/training",
  "runtime/webgpu",
  "browser/page-access",
  "browser/leaks",
  "runtime/leaks",
  "package/api",
  "browser/page-images",
  "package/web-vite",
  "runtime/webgpu-penalties",
  "browser/penalties",
  "browser/page-hosting",
  "browser/page-files",
  "browser/report",
  "browser/firefox",
  "penalties/torch",
  "artifacts/penalties-official",
  "autodiff/second-order",
  "cli/reference",
  "examples",
  "browser/device-loss",
  "verify/layers",
  "penalties/penalties",
  "autodiff/rules",
  "programs/jacobians",
  "cli/train",
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

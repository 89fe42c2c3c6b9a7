import { expect } from "vitest";

/** Fails with what is to be removed once ONNX Runtime no longer has a fault. */
export function stillThere(fault: boolean, remedy: string): void {
  expect(fault, `mended in this ONNX Runtime: remove ${remedy}, and its line in docs/runtime-faults.md`).toBe(
    true,
  );
}

import { beforeEach } from "vitest";

/**
 * Skips all tests of a describe block if something that they need is missing.
 * @param missing - the reason, which the report shows; "" lets the tests run
 */
export function skipWithout(missing: string): void {
  beforeEach((context) => {
    context.skip(missing !== "", missing);
  });
}

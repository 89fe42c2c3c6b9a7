import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { changes } from "../../../src/passes/opset/operator-changes.ts";

/** What scripts/opset-changes.py says: operator → opset → what is not as it was. */
const found: Record<string, Record<string, string[]>> = JSON.parse(
  readFileSync("test/fixtures/opset-changes.json", "utf8"),
);

/** Changes after which an older node is a node of the newer form that means the same. */
const harmless = /^(more (in|out)puts|\w+ new)$/;

/** Forms that files newer than opset 18 bring and rules read beside the older one: no adapter can be asked for. */
const readByRules: Readonly<Record<string, readonly number[]>> = { DFT: [20], GridSample: [20] };

test("every operator whose form changed has an adapter, up to opset 18; rules read what came later", () => {
  const missing = Object.entries(found).flatMap(([op, versions]) =>
    Object.entries(versions)
      .filter(([version, list]) => {
        const known = changes[op]?.some(({ since }) => since === Number(version));
        return (
          !known && !readByRules[op]?.includes(Number(version)) && !list.every((one) => harmless.test(one))
        );
      })
      .map(([version, list]) => `${op} ${version}: ${list.join(", ")}`),
  );
  expect(missing).toEqual([]);
});

test("every adapter answers a change that there is", () => {
  /** Changes of meaning that the form does not show. */
  const meaning = new Set(["Dropout 10", "Resize 13", "Scatter 11"]);
  const idle = Object.entries(changes).flatMap(([op, list]) =>
    list
      .filter(({ since }) => !found[op]?.[since] && !meaning.has(`${op} ${since}`))
      .map(({ since }) => `${op} ${since}`),
  );
  expect(idle).toEqual([]);
});

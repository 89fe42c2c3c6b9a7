import type { Typed } from "../../src/graph/emit-base.ts";
import { type Case, M, one, pick, same, sum, two } from "./emit-case.ts";

const at = (...indices: readonly (readonly bigint[])[]) =>
  ["int64", [indices.length, indices[0]?.length ?? 0], BigInt64Array.from(indices.flat())] as const;

/** Cases of the methods that move, join and index elements. */
export const shapes = {
  reshape: [
    one(M, (g, a) => g.reshape(a, [3, 1, 2]), same),
    one([3, 0], (g, a) => g.reshape(a, [0, 2, 1]), same, 14),
  ],
  reshapeAs: [one([2, 3, 4], (g, a) => g.reshapeAs(a, [0, 6, -1], [2, 6, 2]), same)],
  expand: [
    one(
      [3],
      (g, a) => g.expand(a, [2, 3]),
      (a) => [...a, ...a],
    ),
    one(
      [2, 1],
      (g, a) => g.expand(a, [2, 2]),
      (a) => pick(a, [0, 0, 1, 1]),
    ),
  ],
  unsqueeze: [one(M, (g, a) => g.unsqueeze(a, [3, 0]), same)],
  concat: [
    two(
      [M, [1, 3]],
      (g, a, b) => g.concat([a, b], 0),
      (a, b) => [...a, ...b],
    ),
    two([M, [2, 2]], (g, a, b) => g.concat([a, b], -1)),
    one(M, (g, a) => g.concat([a], 0), same),
  ],
  split: [
    one(
      M,
      (g, a) => g.concat(g.split(a, -1, [1, 2]).reverse(), 1),
      (a) => pick(a, [1, 2, 0, 4, 5, 3]),
    ),
    one(M, (g, a) => g.split(a, 0, [2])[0] as Typed, same),
    // More parts than one node makes, twice over.
    one(
      [100],
      (g, a) => g.concat(g.split(a, 0, [3, ...Array<number>(97).fill(1)]).reverse(), 0),
      (a) => [...a.slice(3).reverse(), ...a.slice(0, 3)],
    ),
  ],
  slice: [
    one(
      [6],
      (g, a) => g.slice(a, [{ axis: 0, start: 1, length: 3 }]),
      (a) => a.slice(1, 4),
    ),
    one(
      [6],
      (g, a) => g.slice(a, [{ axis: 0, start: 1, length: 3, step: 2 }]),
      (a) => pick(a, [1, 3, 5]),
    ),
    one(
      [6],
      (g, a) => g.slice(a, [{ axis: 0, start: 5, length: 6, step: -1 }]),
      (a) => [...a].reverse(),
    ),
    one(
      [6],
      (g, a) => g.slice(a, [{ axis: 0, start: 4, length: 2, step: -2 }]),
      (a) => pick(a, [4, 2]),
    ),
    one(
      [4, 5],
      (g, a) =>
        g.slice(a, [
          { axis: 1, start: 2, length: 2 },
          { axis: 0, start: 0, length: 1 },
        ]),
      (a) => a.slice(2, 4),
    ),
    one(M, (g, a) => g.slice(a, [{ axis: 1, start: 0, length: 3 }]), same),
  ],
  pad: [
    one(
      [3],
      (g, a) => g.pad(a, [1, 2]),
      (a) => [0, ...a, 0, 0],
    ),
    one(
      [3],
      (g, a) => g.pad(a, [0, 1], 7),
      (a) => [...a, 7],
    ),
    one(
      [5],
      (g, a) => g.pad(a, [-1, -2]),
      (a) => a.slice(1, 3),
    ),
    one(M, (g, a) => g.pad(a, [1, 0, -1, 2])),
  ],
  gather: [
    one(
      [4, 2],
      (g, a) => g.gather(a, g.int64s([2, 0])),
      (a) => pick(a, [4, 5, 0, 1]),
    ),
    one(
      M,
      (g, a) => g.gather(a, g.int64s([1, 1]), -1),
      (a) => pick(a, [1, 1, 4, 4]),
    ),
  ],
  scatterAdd: [
    two(
      [[3], [2]],
      (g, a, b) => g.scatterAdd(a, g.constant(...at([2n], [2n])), b),
      (a, b) => [a[0] ?? 0, a[1] ?? 0, (a[2] ?? 0) + sum(b)],
      16,
    ),
  ],
  scatter: [
    two(
      [[3], [1]],
      (g, a, b) => g.scatter(a, g.constant(...at([2n])), b),
      ([x = 0, y = 0], [z = 0]) => [x, y, z],
    ),
    two(
      [[3], [2]],
      (g, a, b) => g.scatter(a, g.constant(...at([2n], [2n])), b, "mul"),
      ([x = 0, y = 0, z = 0], [u = 0, v = 0]) => [x, y, z * u * v],
      16,
    ),
  ],
  gatherND: [
    one(
      [2, 3, 4],
      (g, a) => g.gatherND(a, g.constant(...at([1n, 2n], [0n, 1n]))),
      (a) => [...a.slice(20), ...a.slice(4, 8)],
      12,
    ),
  ],
  gatherElements: [
    one(
      M,
      (g, a) => g.gatherElements(a, g.constant("int64", [2, 2], BigInt64Array.of(2n, 0n, 1n, 1n)), -1),
      (a) => pick(a, [2, 0, 4, 4]),
    ),
  ],
  scatterElementsAdd: [
    two(
      [M, [2, 2]],
      (g, a, b) =>
        g.scatterElementsAdd(a, g.constant("int64", [2, 2], BigInt64Array.of(2n, 0n, 1n, 1n)), b, 1),
      ([p = 0, q = 0, r = 0, s = 0, t = 0, u = 0], [v = 0, w = 0, x = 0, y = 0]) => [
        ...[p + w, q, r + v],
        ...[s, t + x + y, u],
      ],
      16,
    ),
  ],
  scatterElements: [
    two(
      [M, [2, 1]],
      (g, a, b) => g.scatterElements(a, g.constant("int32", [2, 1], Int32Array.of(2, 0)), b, 1),
      ([p = 0, q = 0, , , t = 0, u = 0], [v = 0, w = 0]) => [p, q, v, w, t, u],
    ),
    two(
      [M, [2, 1]],
      (g, a, b) => g.scatterElements(a, g.constant("int32", [2, 1], Int32Array.of(2, 0)), b, -1, "mul"),
      ([p = 0, q = 0, r = 0, s = 0, t = 0, u = 0], [v = 0, w = 0]) => [p, q, r * v, s * w, t, u],
      16,
    ),
  ],
  trilu: [
    one(
      M,
      (g, a) => g.trilu(a, 0, true),
      ([p = 0, q = 0, r = 0, , t = 0, u = 0]) => [p, q, r, 0, t, u],
      14,
    ),
    one(
      M,
      (g, a) => g.trilu(a, -1, false),
      ([, , , s = 0]) => [0, 0, 0, s, 0, 0],
      14,
    ),
  ],
  reverseSequence: [
    one(
      M,
      (g, a) => g.reverseSequence(a, g.int64s([2, 3]), { batchAxis: 0, timeAxis: 1 }),
      (a) => pick(a, [1, 0, 2, 5, 4, 3]),
    ),
  ],
  cumSum: [
    one(
      [3],
      (g, a) => g.cumSum(a, 0),
      ([x = 0, y = 0, z = 0]) => [x, x + y, x + y + z],
    ),
    one(
      [3],
      (g, a) => g.cumSum(a, -1, { reverse: true, exclusive: true }),
      ([, y = 0, z = 0]) => [y + z, z, 0],
    ),
  ],
} satisfies Record<string, readonly Case[]>;

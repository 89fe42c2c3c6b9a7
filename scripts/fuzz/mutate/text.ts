import type { Chance } from "../chance.ts";
import { hostileNumbers } from "./bytes.ts";

/** Texts at which programs fail: other alphabets, control characters, names of JavaScript's own properties, formulas, paths. */
export const hostileTexts: readonly string[] = [
  ...["", " ", "__proto__", "constructor", "toString", "hasOwnProperty", "NaN", "Infinity", "-0", "null"],
  ...["\u0000", "\u001b[31mred\u001b[0m", "a\nb", "\u202egnirts", "\ud800", "Größe", "重み", "😀", "e\u0301"],
  ...["../../../etc/passwd", "/dev/zero", "/proc/self/mem", "C:\\con", ".", "..", "%n%s", "=1+1", "<script>"],
  ...[
    "sorth/penalty",
    "loss",
    "labels",
    "penalty",
    "learning_rate",
    "x".repeat(300),
    "y".repeat(1e5),
    "(a+)+$",
    "[",
    "*",
  ],
  ...["1e999", "1e-999", "0x10", "1_000", "١٢٣", '"', "'", ",", "\t", ";"],
];

/** A hostile text or number, as text. */
export const hostileValue = (chance: Chance): string =>
  chance.once(2) ? chance.pick(hostileTexts) : String(chance.pick(hostileNumbers));

/** A table or list in text: cells and lines replaced, removed, repeated, swapped. */
export function changedText(text: string, chance: Chance): string {
  const lines = text.split("\n");
  for (let i = 0; i <= chance.below(4); i++) {
    const at = chance.below(lines.length);
    const line = lines[at] ?? "";
    const cells = line.split(/([,\t"{}[\]:])/);
    cells[chance.below(cells.length)] = hostileValue(chance);
    const changes: readonly (() => void)[] = [
      () => lines.splice(at, 1, cells.join("")),
      () => lines.splice(at, 1, line.slice(0, chance.below(line.length))),
      () => lines.splice(at, 1),
      () => lines.splice(at, 0, line),
      () => lines.splice(at, 1, line + chance.pick([",", '"', "\r", "\t", "}", "\u0000", ",,,,,"])),
      () => lines.splice(at, 1, line.repeat(1 + chance.below(Math.min(200, 1e6 / (line.length + 1))))),
      () => lines.splice(at, 0, hostileValue(chance)),
      // Anchors of YAML: a value that holds itself, or grows with each level.
      () =>
        lines.splice(
          at,
          1,
          line.replace(
            /: .*/,
            chance.pick([": &a [*a]", ": &a { a: *a }", `: [&a [x, x], ${"*a, ".repeat(200)}]`]),
          ),
        ),
    ];
    chance.pick(changes)();
  }
  return lines.join(chance.once(20) ? "\r" : "\n");
}

/** JSON with values replaced by hostile ones, removed, or moved; sometimes changed as text. */
export function changedJson(text: string, chance: Chance): string {
  if (chance.once(5)) return changedText(text, chance);
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch {
    return changedText(text, chance);
  }
  const holder = { root };
  const places: [Record<string, unknown>, string][] = [];
  const visit = (object: unknown): void => {
    if (typeof object !== "object" || object === null) return;
    for (const key of Object.keys(object)) {
      places.push([object as Record<string, unknown>, key]);
      visit((object as Record<string, unknown>)[key]);
    }
  };
  visit(holder);
  for (let i = 0; i <= chance.below(3); i++) {
    const [object, key] = chance.pick(places);
    const changes: readonly (() => void)[] = [
      () => {
        object[key] = chance.pick(hostileNumbers);
      },
      () => {
        object[key] = chance.pick(hostileNumbers) + 0.5;
      },
      () => {
        object[key] = chance.pick(hostileTexts);
      },
      () => {
        object[key] = chance.pick([null, true, [], {}, [null], [[]], ["a"], { a: 1 }]);
      },
      () => delete object[key],
      () => {
        if (!Array.isArray(object))
          object[chance.pick(["a", "length", "0", "constructor", key])] = object[key];
      },
      () => {
        object[key] = chance.pick(places)[0];
      },
    ];
    chance.pick(changes)();
  }
  try {
    return JSON.stringify(holder.root) ?? "";
  } catch {
    // An object was put into itself.
    return changedText(text, chance);
  }
}

/** JSON objects, one a line: one of them changed. */
export function changedObjects(bytes: Uint8Array, chance: Chance): Uint8Array {
  const lines = Buffer.from(bytes).toString().split("\n");
  const at = chance.below(lines.length);
  lines[at] = changedJson(lines[at] ?? "", chance);
  return Buffer.from(lines.join("\n"));
}

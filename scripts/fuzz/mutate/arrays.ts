import { strToU8, unzipSync, zipSync } from "fflate";
import type { Chance } from "../chance.ts";
import { changedBytes, hostileNumbers } from "./bytes.ts";
import { changedJson, hostileTexts } from "./text.ts";

/** An `.npy` file with its header or its numbers changed. */
export function changedNpy(bytes: Uint8Array, chance: Chance): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || chance.once(3)) return changedBytes(bytes, chance);
  const length = view.getUint16(8, true);
  const header = Buffer.from(bytes.subarray(10, 10 + length)).toString("latin1");
  const types = [
    "<f4",
    "<f8",
    "<f2",
    ">f4",
    "|b1",
    "<i8",
    "<u8",
    "|O",
    "|S3",
    "<U2",
    "<c8",
    "<M8[s]",
    "|V4",
    "x",
  ];
  const ways: readonly (() => string)[] = [
    () => header.replace(/'descr': '[^']*'/, `'descr': '${chance.pick(types)}'`),
    () => header.replace(/\d+/, String(chance.pick(hostileNumbers))),
    () =>
      header.replace(
        /\([^)]*\)/,
        chance.pick(["()", "(0,)", "(-1,)", "(3", "(1,2,3,4,5,6,7,8,9)", "(9**9,)", "(1e9,)"]),
      ),
    () => header.replace("False", chance.pick(["True", "None", "0", "[]"])),
    () => header.slice(0, chance.below(header.length)),
    () => header + chance.pick(hostileTexts),
  ];
  const changed = Buffer.from(chance.pick(ways)(), "latin1");
  const head = bytes.slice(0, 10);
  new DataView(head.buffer).setUint16(8, chance.once(8) ? chance.below(65_536) : changed.length, true);
  return Buffer.concat([head, changed, bytes.subarray(10 + length)]);
}

/** An `.npz` archive with an entry changed, renamed, repeated or removed; sometimes with its own bytes changed. */
export function changedNpz(bytes: Uint8Array, chance: Chance): Uint8Array {
  if (chance.once(3)) return changedBytes(bytes, chance);
  const entries = new Map<string, Uint8Array>(Object.entries(unzipSync(bytes)));
  const name = chance.pick([...entries.keys()]);
  const entry = entries.get(name) ?? new Uint8Array();
  const names = [
    "x",
    "y",
    "labels.npy",
    "x_test.npy",
    "y_train.npy",
    "__proto__.npy",
    "../x.npy",
    "a/b.npy",
    "é.npy",
  ];
  const ways: readonly (() => void)[] = [
    () => entries.set(name, Uint8Array.from(changedNpy(entry, chance))),
    () => entries.set(name, Uint8Array.from(changedNpy(entry, chance))),
    () => entries.delete(name),
    () => entries.set(chance.pick([...names, ...entries.keys()]), entry),
    () => entries.set(name, entries.get(chance.pick([...entries.keys()])) ?? entry),
    () => entries.set(name, strToU8(chance.pick(hostileTexts))),
  ];
  chance.pick(ways)();
  return zipSync(Object.fromEntries(entries), { level: chance.once(2) ? 0 : 6 });
}

/** A `.safetensors` file with its header or its numbers changed. */
export function changedSafetensors(bytes: Uint8Array, chance: Chance): Uint8Array {
  if (bytes.length < 8 || chance.once(3)) return changedBytes(bytes, chance);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  const header = strToU8(changedJson(Buffer.from(bytes.subarray(8, 8 + length)).toString(), chance));
  const size = new Uint8Array(8);
  const said = chance.once(8) ? BigInt(chance.pick(hostileNumbers)) : BigInt(header.length);
  new DataView(size.buffer).setBigUint64(0, BigInt.asUintN(64, said), true);
  return Buffer.concat([size, header, bytes.subarray(8 + length)]);
}

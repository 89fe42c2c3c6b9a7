import { decodeModelProto, encodeModelProto } from "../../../src/onnx/codec.ts";
import type { Chance } from "../chance.ts";
import { hostileNumbers } from "./bytes.ts";
import { hostileTexts } from "./text.ts";

const places = [
  ...["weights.data", "./weights.data", "sub/../weights.data", "../weights.data", "/dev/zero", "/dev/stdin"],
  ...["/proc/self/environ", "model.onnx", ".", "missing.data", "weights.data\u0000", "WEIGHTS.DATA"],
];

/** A model with another place, offset or length of a weight's data. */
export function changedExternal(bytes: Uint8Array, keys: readonly string[], chance: Chance): Uint8Array {
  const model = decodeModelProto(bytes.slice());
  const stored = (model.graph?.initializer ?? []).filter(({ externalData }) => externalData?.length);
  for (let i = 0; i <= chance.below(3); i++) {
    const { externalData } = chance.maybe(stored) ?? {};
    if (!externalData) continue;
    const key = chance.pick(keys);
    const number = chance.pick([...hostileNumbers, 4, 31, 4095, 4096].map(String));
    const value =
      key === "location"
        ? chance.pick([...places, ...hostileTexts])
        : chance.pick([number, `${number}.5`, ...hostileTexts]);
    const entry = externalData.find((one) => one.key === key);
    if (entry && !chance.once(8)) entry.value = value;
    else externalData.push({ key, value });
    if (chance.once(12)) externalData.splice(chance.below(externalData.length), 1);
  }
  return encodeModelProto(model);
}

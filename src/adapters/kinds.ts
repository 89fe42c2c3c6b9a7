import { UsageError } from "../errors.ts";
import { dora } from "./dora.ts";
import { ia3 } from "./ia3.ts";
import type { AdapterKind, AdapterTensors, LayerSettings } from "./kind.ts";
import type { Layer } from "./layer.ts";
import { lora } from "./lora.ts";

/** All kinds of adapters. */
const adapterKinds: readonly AdapterKind[] = [lora, dora, ia3];

/** The kind that settings ask for. */
export const kindOf = ({
  dora: isDora,
  ia3: isIa3,
}: Pick<LayerSettings, "dora"> & { readonly ia3?: boolean }): AdapterKind =>
  isIa3 ? ia3 : isDora ? dora : lora;

/** The kind whose parts have these names. */
export const kindOfParts = (parts: AdapterTensors): AdapterKind =>
  kindOf({
    ia3: Object.keys(parts).some((part) => part.startsWith("ia3_")),
    dora: "lora_magnitude_vector" in parts,
  });

/** The error for an adapter of another kind than that of a run. */
export const otherKind = (own: AdapterKind, asked: AdapterKind): UsageError =>
  new UsageError(
    `the adapter is of the kind ${own.name}, the run trains ${asked.name} (dora=true|false, ia3=true|false)`,
  );

/** Why an adapter has to stay beside a layer; undefined if it can be merged into the layer's weight. */
export const reasonToStay = (layer: Layer, kind: AdapterKind): string | undefined =>
  typeof layer.stored === "string" ? layer.stored : kind.stays?.(layer);

/** @throws UsageError for a name that no kind has */
export function adapterKind(name: string): AdapterKind {
  const found = adapterKinds.find((kind) => kind.name === name);
  if (found) return found;
  throw new UsageError(
    `there is no adapter "${name}"; there are ${adapterKinds.map((kind) => kind.name).join(", ")}`,
  );
}

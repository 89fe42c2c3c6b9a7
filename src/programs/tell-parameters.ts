import { escaped } from "../analysis/name-patterns.ts";
import type { ConstantValue, Parameter } from "../analysis/parameters.ts";
import type { SharedInitializer } from "../analysis/shared-initializers.ts";
import type { LossOptions } from "./options.ts";

/** Most names in a list; inspect lists all. */
const most = 8;

/** Names as a list, with the source's name if the file has another: `val_13 (blocks.0.fc.weight)`. */
export function listedWithSource(
  values: readonly { readonly name: string; readonly source?: string | undefined }[],
): string {
  const names = values
    .slice(0, most)
    .map(({ name, source }) => (source === undefined || source === name ? name : `${name} (${source})`));
  const more = values.length - names.length;
  return `${names.join(", ")}${more > 0 ? ` and ${more} more (sorth-onnx inspect lists them all)` : ""}`;
}

/**
 * Reports what the options leave untrained, each value whose place in the graph alone decides whether it is a parameter, and
 * matrices of which the file does not say whether layers share them on purpose.
 */
export function tellParameters(
  {
    parameters,
    constants,
  }: { readonly parameters: readonly Parameter[]; readonly constants: readonly ConstantValue[] },
  shared: readonly SharedInitializer[],
  { onMessage, freeze, trainable }: LossOptions,
): void {
  if (!onMessage) return;
  const doubtful = (kind: SharedInitializer["kind"]) =>
    shared.flatMap((one) => (one.doubt && one.kind === kind ? [{ name: one.value.name }] : []));
  const [split, tied] = [doubtful("split"), doubtful("tied")];
  if (split.length > 0) {
    onMessage(
      `equal in several layers of an untrained model, so that each layer gets its own: ${listedWithSource(split)}; --tie keeps one for all`,
    );
  }
  if (tied.length > 0) {
    onMessage(`one weight of several layers: ${listedWithSource(tied)}; --untie gives each layer its own`);
  }
  const named = ({ value, source }: Parameter | ConstantValue) => ({ name: value.name, source });
  const frozen = constants.filter(({ reason }) => /by --freeze$|by --trainable$/.test(reason));
  if ((freeze || trainable) && frozen.length > 0) onMessage(`frozen: ${listedWithSource(frozen.map(named))}`);
  const guessed = parameters.filter(({ doubt }) => doubt);
  if (guessed.length > 0) {
    onMessage(
      `trained by their place alone: ${listedWithSource(guessed.map(named))}; --freeze leaves out what is no parameter`,
    );
  }
  const left = constants.filter(({ doubt }) => doubt);
  const [first] = left;
  if (first) {
    onMessage(
      `not trained, though they may be parameters: ${listedWithSource(left.map(named))}; --trainable "+^${escaped(first.value.name)}$" trains one`,
    );
  }
}

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";

const folder = fileURLToPath(new URL("../../.cache/backend-models", import.meta.url));
const command = "npx tsx scripts/backend-models.ts";

/** The reason why tests with the backend models are skipped, or false. */
export const backendModelsMissing: string | false = existsSync(join(folder, "version.txt"))
  ? false
  : `the ONNX backend models are not in .cache: ${command}`;

/** The reason why tests with the backend models' data are skipped, or false. An older version of the script omitted the data. */
export const backendDataMissing: string | false =
  backendModelsMissing ||
  (readFileSync(join(folder, "version.txt"), "utf8").endsWith("with data")
    ? false
    : `the data of the ONNX backend models is not in .cache: ${command}`);

/** Names of the models of the ONNX backend tests; empty until scripts/backend-models.ts has run. */
export const backendModels: readonly string[] = backendModelsMissing
  ? []
  : readdirSync(folder, { recursive: true })
      .map(String)
      .filter((name) => name.endsWith(".onnx"))
      .sort();

/** The bytes of a backend model. */
export const backendModel = (name: string): Uint8Array => new Uint8Array(readFileSync(join(folder, name)));

/**
 * The data that a backend test feeds to its model, in the order of the inputs; undefined for a sequence or an optional.
 */
export function backendInputs(name: string, model: onnx.ModelProto): (Tensor | undefined)[] {
  const data = join(folder, name.replace(/\.onnx$/, ""));
  const initialized = new Set((model.graph?.initializer ?? []).map((tensor) => tensor.name));
  return (model.graph?.input ?? [])
    .filter((input) => !initialized.has(input.name))
    .map((input, index) => {
      if (!input.type?.tensorType) return undefined;
      const bytes = new Uint8Array(readFileSync(join(data, `input_${index}.pb`)));
      return Tensor.fromProto(onnx.TensorProto.decode(bytes)).named(input.name ?? "");
    });
}

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../../.cache/backend-models", import.meta.url));

/** Why tests over the backend models are skipped, or false. */
export const backendModelsMissing: string | false = existsSync(join(folder, "version.txt"))
  ? false
  : "the ONNX backend models are not in .cache: npx tsx scripts/backend-models.ts";

/** Names of the ONNX backend tests' models; none before scripts/backend-models.ts has run. */
export const backendModels: readonly string[] = backendModelsMissing
  ? []
  : readdirSync(folder, { recursive: true })
      .map(String)
      .filter((name) => name.endsWith(".onnx"))
      .sort();

/** The bytes of a backend model. */
export const backendModel = (name: string): Uint8Array => new Uint8Array(readFileSync(join(folder, name)));

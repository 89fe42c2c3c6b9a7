import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pythonInterpreter } from "../scripts/python-environment.ts";
import { Tensor } from "../src/onnx/tensor.ts";
import type { BenchmarkModel } from "./models.ts";

/** Usual batch of each network, and whether torch.compile takes part unless it is asked for: above, it takes minutes. */
export const networks = {
  mlp: { batch: 64, compiles: true },
  cnn: { batch: 32, compiles: true },
  resnet18: { batch: 16, compiles: true },
  mobilenet: { batch: 16, compiles: false },
  convnext: { batch: 16, compiles: false },
  efficientnet: { batch: 8, compiles: false },
  densenet: { batch: 8, compiles: false },
  vit: { batch: 16, compiles: true },
  gpt: { batch: 16, compiles: true },
  pointnet: { batch: 16, compiles: true },
  unet: { batch: 8, compiles: true },
  lstm: { batch: 32, compiles: true },
} as const;

/** Names of all networks, in the order of the tables. */
export const networkNames = Object.keys(networks) as readonly NetworkName[];

/** Name of a network of bench/networks.py. */
export type NetworkName = keyof typeof networks;

/** A network, its batch and, where they differ from the usual ones, the arguments of its function in bench/networks.py. */
export interface NetworkRequest {
  readonly network: NetworkName;
  readonly batch: number;
  readonly size?: Readonly<Record<string, number>>;
}

const script = fileURLToPath(new URL("networks.py", import.meta.url));
const exports_ = fileURLToPath(new URL("../.cache/bench/networks", import.meta.url));

/** Exports the network with PyTorch, unless this was done before, and returns the folder of the files. */
export const exportNetwork = (request: NetworkRequest): string => exportNetworks([request])[0] ?? "";

/** The same for several networks, in one Python process. */
export function exportNetworks(requests: readonly NetworkRequest[]): string[] {
  const requirements = fileURLToPath(new URL("../scripts/requirements.txt", import.meta.url));
  const hash = createHash("sha256").update(readFileSync(script)).update(readFileSync(requirements));
  const version = join(exports_, hash.digest("hex").slice(0, 12));
  // Exports of another version of the networks are of no use.
  if (!existsSync(version)) rmSync(exports_, { recursive: true, force: true });
  const wanted = requests.map(({ network, batch, size = {} }) => {
    const sizes = Object.entries(size).map(([name, value]) => `-${name}${value}`);
    return { folder: join(version, `${network}-batch${batch}${sizes.join("")}`), network, batch, size };
  });
  const missing = wanted.filter(({ folder }) => !existsSync(join(folder, "about.json")));
  for (const { folder } of missing) mkdirSync(folder, { recursive: true });
  if (missing.length > 0) {
    const { status, stderr, error } = spawnSync(pythonInterpreter(), [script, JSON.stringify(missing)], {
      env: { ...process.env, OMP_NUM_THREADS: "1" },
      encoding: "utf8",
    });
    if (status !== 0) {
      const last = stderr?.trim().split("\n").at(-1);
      throw new Error(`bench/networks.py could not export it: ${error?.message ?? last}`);
    }
  }
  return wanted.map(({ folder }) => folder);
}

/** Reads what {@link exportNetwork} wrote. */
export function readNetwork(folder: string, name: string): BenchmarkModel {
  const file = (part: string) => readFileSync(join(folder, part));
  const { title, x } = JSON.parse(file("about.json").toString()) as {
    title: string;
    x: { type: "float" | "int64"; shape: number[] };
  };
  const copy = (part: string) => new Uint8Array(file(part)).buffer;
  const numbers = x.type === "int64" ? new BigInt64Array(copy("x.bin")) : new Float32Array(copy("x.bin"));
  return {
    ...{ name, title, onnx: file("model.onnx") },
    x: Tensor.of("x", x.type, x.shape, numbers),
    labels: new Int32Array(copy("labels.bin")),
  };
}

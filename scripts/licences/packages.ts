import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A package that is installed for users of this one, on some platform. */
export interface UsedPackage {
  readonly name: string;
  readonly version: string;
  /** SPDX expression; undefined if the package states none. */
  readonly licence: string | undefined;
  /** Where it is installed; undefined for a package of another platform, known from package-lock.json alone. */
  readonly folder: string | undefined;
}

interface Locked {
  readonly version?: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** Every package that comes with this one: dependencies, optional and peer ones, and theirs. Sorted by name. */
export function usedPackages(root: string): UsedPackage[] {
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, Locked>;
  };
  const found = new Map<string, UsedPackage>();
  const visit = (from: string): void => {
    const { dependencies, optionalDependencies, peerDependencies } = lock.packages[from] ?? {};
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      const place = placeOf(name, from, lock.packages);
      if (place === undefined || found.has(place)) continue;
      found.set(place, describe(root, name, place, lock.packages[place] ?? {}));
      visit(place);
    }
  };
  visit("");
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** Where node finds a package from another one: in its own node_modules, or in those above. */
function placeOf(name: string, from: string, packages: Readonly<Record<string, Locked>>): string | undefined {
  for (let at = from; ; at = at.replace(/(^|\/)node_modules\/(@[^/]+\/)?[^/]+$/, "")) {
    const place = `${at === "" ? "" : `${at}/`}node_modules/${name}`;
    if (packages[place]) return place;
    if (at === "") return undefined;
  }
}

/** A package as it is installed, else as the lock file has it. */
function describe(root: string, name: string, place: string, locked: Locked): UsedPackage {
  const folder = join(root, place);
  if (!existsSync(join(folder, "package.json"))) {
    return { name, version: locked.version ?? "", licence: locked.license, folder: undefined };
  }
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    version: string;
    license?: string | { readonly type?: string };
  };
  return { name, version, licence: typeof license === "object" ? license.type : license, folder };
}

/**
 * Lists every package that is installed with this one, with its licence, on all platforms, and fails if one is not allowed
 * (scripts/licences/allowed.ts). Where dist/ is built, it also checks that the bundles have their notices.
 *
 *     npm run licences
 *
 * Asks nothing of the network: package-lock.json and the installed packages say it.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { formatTable } from "../../src/report/table.ts";
import { scriptArguments } from "../arguments.ts";
import { exceptions, fault } from "./allowed.ts";
import { noticesFile } from "./notices.ts";
import { usedPackages } from "./packages.ts";

scriptArguments(import.meta.url, { options: {} });
const packages = usedPackages(fileURLToPath(new URL("../..", import.meta.url)));
const faults = packages.flatMap(({ name, licence }) => {
  const found = fault(name, licence);
  return found === undefined ? [] : [`${name}: ${found}`];
});

const byLicence = new Map<string, string[]>();
for (const { name, licence = "none" } of packages) {
  byLicence.set(licence, [...(byLicence.get(licence) ?? []), name]);
}
console.log(
  formatTable(
    [{ heading: "licence" }, { heading: "packages", align: "right" }, { heading: "" }],
    [...byLicence]
      .sort(([, a], [, b]) => b.length - a.length)
      .map(([licence, all]) => [licence, String(all.length), [...new Set(all)].join(" ")]),
  ),
);
for (const { licence, reason } of exceptions) console.log(`${licence}: ${reason}`);

for (const folder of ["dist/web", "dist/page"]) {
  if (!existsSync(folder)) continue;
  const file = `${folder}/${noticesFile}`;
  if (!existsSync(file)) faults.push(`${file} is missing`);
  else if (!readFileSync(file, "utf8").includes("\nprotobufjs "))
    faults.push(`${file} does not name protobufjs`);
}
for (const text of faults) console.error(`error: ${text}`);
console.log(`${packages.length} packages, ${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;

/**
 * Asks the package registry that npm uses for known vulnerabilities of what is installed with this package: `npm run audit`.
 * Exit code 1 if one is high or critical. If the registry does not answer, says so and exits with 0: nothing is known then.
 */
import { spawnSync } from "node:child_process";

const asked = spawnSync(
  "npm",
  ["audit", "--omit=dev", "--json", "--fetch-retries=0", "--fetch-timeout=15000"],
  {
    ...{ encoding: "utf8", timeout: 60_000, shell: process.platform === "win32" },
    stdio: ["ignore", "pipe", "ignore"],
  },
);
const report = answer(asked.stdout ?? "");
if (report === undefined) {
  console.log(
    "audit: the package registry did not answer; whether dependencies have known vulnerabilities is not known",
  );
  process.exit(0);
}
const found = Object.values(report.vulnerabilities);
for (const { name, severity, range, via } of found) {
  const titles = via.map((cause) =>
    typeof cause === "string" ? `by ${cause}` : `${cause.title} (${cause.url})`,
  );
  console.log(`${severity}: ${name} ${range}: ${titles.join("; ")}`);
}
const grave = found.filter(({ severity }) => severity === "high" || severity === "critical");
console.log(`audit: ${found.length} packages with known vulnerabilities, ${grave.length} high or critical`);
process.exit(grave.length === 0 ? 0 : 1);

/** The registry's answer; undefined for anything else that npm prints. */
function answer(text) {
  try {
    const json = JSON.parse(text);
    return typeof json.vulnerabilities === "object" && json.vulnerabilities !== null ? json : undefined;
  } catch {
    return undefined;
  }
}

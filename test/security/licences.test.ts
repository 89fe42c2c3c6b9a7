import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { exceptions, fault } from "../../scripts/licences/allowed.ts";
import { licenceText, packageOf } from "../../scripts/licences/notices.ts";
import { usedPackages } from "../../scripts/licences/packages.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { unbuilt } from "../package/installed.ts";

describe("licences", () => {
  it("of everything that is installed with the package are allowed, on every platform", () => {
    const packages = usedPackages(process.cwd());
    expect(packages.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["protobufjs", "@img/sharp-darwin-arm64", "onnxruntime-web", "d3-color"]),
    );
    // Tools for development are not among them.
    expect(packages.map(({ name }) => name)).not.toContain("vitest");
    expect(packages.flatMap(({ name, licence }) => fault(name, licence) ?? [])).toEqual([]);
  });

  it.each([
    ["x", "MIT", undefined],
    ["x", "(GPL-3.0-only OR MIT)", undefined],
    ["x", "Apache-2.0 AND (GPL-3.0-only OR ISC) AND MIT", undefined],
    ["x", "MIT AND GPL-3.0-only", "its licence is not allowed: MIT AND GPL-3.0-only"],
    ["x", "LGPL-3.0-or-later", "its licence is not allowed: LGPL-3.0-or-later"],
    ["@img/sharp-libvips-linux-x64", "LGPL-3.0-or-later", undefined],
    ["@img/sharp-libvips-linux-x64", "AGPL-3.0-only", "its licence is not allowed: AGPL-3.0-only"],
    ["x", undefined, "it states no licence"],
    ["x", "UNLICENSED", "its licence is not allowed: UNLICENSED"],
    ["x", "MIT)", "its licence cannot be read: MIT)"],
    ["x", "SEE LICENSE IN x", "its licence cannot be read: SEE LICENSE IN x"],
  ])("%s under %s", (name, licence, found) => expect(fault(name, licence)).toBe(found));

  it.for([
    ["dist/web", ["fflate", "protobufjs", "pure-rand"]],
    ["dist/page", ["fflate", "protobufjs", "onnxruntime-web", "Inside ONNX Runtime", "MNIST database"]],
  ] as const)("%s has the notices of what is bundled", ([folder, parts], context) => {
    context.skip(unbuilt !== "", unbuilt);
    const text = readFileSync(join(folder, "THIRD-PARTY-NOTICES.txt"), "utf8");
    for (const part of parts) expect(text).toContain(part);
    expect(text).toContain(licenceText("node_modules/protobufjs", "protobufjs"));
    // Whatever a bundle names must have its text.
    const named = [...text.matchAll(/^-{78}\n\n(\S+) \d\S* \(/gm)].map(([, name = ""]) => name);
    expect(named.length).toBeGreaterThan(15);
    expect(named.filter((name) => exceptions.some((one) => one.name.test(name)))).toEqual([]);
    for (const name of named) {
      expect(text).toContain(licenceText(`node_modules/${name}`, name).slice(0, 200));
    }
  });

  it("modules belong to packages", () => {
    expect(packageOf("/a/node_modules/@x/y/lib/z.js")).toEqual({
      name: "@x/y",
      folder: "/a/node_modules/@x/y",
    });
    expect(packageOf("/a/node_modules/x/node_modules/y/z.js")?.name).toBe("y");
    expect(packageOf("/a/src/z.ts")).toBeUndefined();
  });
});

describe.skipIf(process.platform === "win32")("npm run audit", () => {
  const high = { name: "x", severity: "high", range: "<2", via: [{ title: "hole", url: "u" }] };
  it.each([
    ["does not answer", "", 0, /did not answer/],
    ["refuses", '{"error":{"code":"E405"},"message":"405"}', 0, /did not answer/],
    ["knows of nothing", '{"vulnerabilities":{}}', 0, /0 packages with known/],
    [
      "knows of a low one",
      JSON.stringify({ vulnerabilities: { x: { ...high, severity: "low" } } }),
      0,
      /low: x <2: hole/,
    ],
    ["knows of a high one", JSON.stringify({ vulnerabilities: { x: high } }), 1, /1 high or critical/],
  ])("when the registry %s", (_, answer, code, said) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder.path, "npm"), `#!/bin/sh\nprintf '%s' '${answer}'\n`);
    chmodSync(join(folder.path, "npm"), 0o755);
    const env = { ...process.env, PATH: `${folder.path}:${process.env.PATH}` };
    const { status, stdout } = spawnSync(process.execPath, ["scripts/audit.mjs"], { env, encoding: "utf8" });
    folder.remove();
    expect([status, stdout]).toEqual([code, expect.stringMatching(said)]);
  });
});

it.each([
  ...["SECURITY.md", "docs/numbers.md", "docs/reliability.md", "docs/runtime-faults.md", "docs/soak.md"],
])("%s names tests that exist", (document) => {
  const named = [...readFileSync(document, "utf8").matchAll(/\b(?:test|scripts)\/[\w/.-]*\w/g)];
  expect(named.length).toBeGreaterThan(0);
  expect(named.map(([file]) => file).filter((file) => !existsSync(file))).toEqual([]);
});

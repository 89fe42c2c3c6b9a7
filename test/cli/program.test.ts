import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { run } from "../../src/cli/program.ts";
import { penaltyNames } from "../../src/index.ts";
import { cli } from "./run-cli.ts";

const commands = [
  "inspect",
  "inject",
  "strip",
  "verify",
  "head",
  "free-batch",
  "merge",
  "tap",
  "grad",
  "step",
  "artifacts",
  "train",
  "distribute",
  "find-lr",
  "export",
  "evaluate",
  "predict",
  "angles",
  "bench",
  "demo",
];
/** Commands that read a model. */
const onModels = commands.filter((command) => command !== "demo" && command !== "export");

/** Options that a command cannot do without. */
const required = (command: string): string[] =>
  ["train", "find-lr"].includes(command) ? ["--data", "mnist"] : [];

describe("sorth-onnx", () => {
  it("lists its commands, and no others", async () => {
    const { code, stdout, stderr } = await cli("--help");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const listed = [...stdout.matchAll(/^ {2}([a-z-]+)(?: \[command\])? {2,}\S/gm)].map(([, name]) => name);
    expect(listed.filter((name) => name !== "help")).toEqual(commands);
  });

  it("prints its version", async () => {
    const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
    expect(await cli("--version")).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });

  it.each(commands)("%s --help describes its flags", async (command) => {
    const { code, stdout } = await cli(command, "--help");
    expect(code).toBe(0);
    for (const flag of ["--quiet", "--debug"]) expect(stdout).toContain(flag);
    expect(stdout.includes("--force")).toBe(!["inspect", "verify", "bench", "demo"].includes(command));
  });

  it.each([
    { argv: [], says: "no command given" },
    { argv: ["inpsect"], says: "unknown command 'inpsect'" },
    { argv: ["help", "inpsect"], says: "unknown command 'inpsect' (Did you mean inspect?)" },
    { argv: ["--nonsense"], says: "unknown option '--nonsense'" },
    ...onModels.map((command) => ({
      argv: [command, ...required(command)],
      says: "missing required argument",
    })),
    { argv: ["inspect", "models/mlp.onnx", "--force"], says: "unknown option '--force'" },
    { argv: ["demo", "a.onnx"], says: "too many arguments" },
    { argv: ["demo", "--nonsense"], says: "unknown option '--nonsense'" },
    ...onModels.map((command) => ({
      argv: [command, "a.onnx", "b.onnx", ...required(command), "--nonsense"],
      says: "unknown option '--nonsense'",
    })),
    { argv: ["train", "models/mlp.onnx", "-o", "b.onnx"], says: "required option '--data <source>'" },
    { argv: ["inject", "a.onnx", "-o", "b.onnx", "--lambda1", "many"], says: "Give a number" },
    { argv: ["inject", "a.onnx", "-o", "b.onnx", "--include", "("], says: "not a regular expression" },
    {
      argv: ["inject", "a.onnx", "-o", "b.onnx", "--include", "y".repeat(200_000)],
      says: "or it is too large",
    },
    { argv: ["inject", "models/mlp.onnx", "-o", "b.onnx", "--penalty", "sum"], says: 'no penalty "sum"' },
    ...[
      ["so:gamma=1", 'the penalty so has no option "gamma"'],
      ["mhe:power=2", 'the penalty mhe has no option "power"; it has s, half'],
      ["mhe:s=3", "the penalty mhe: s must be 0, 1 or 2, not 3"],
      ["keras:mode", '"mode" in "keras:mode" is no option: write key=value'],
      ["so:schedule=sawtooth", 'there is no schedule "sawtooth"'],
    ].map(([penalty = "", says = ""]) => ({
      argv: ["train", "models/mlp.onnx", "-o", "b.onnx", "--data", "mnist", "--penalty", penalty],
      says,
    })),
    {
      argv: ["inject", "models/mlp.onnx", "-o", "b.onnx", "--penalty", "so", "--gamma", "3"],
      says: 'the penalty so has no option "gamma"',
    },
    {
      argv: ["inject", "models/mlp.onnx", "-o", "b.onnx", "--penalty", "som:gamma=5", "--gamma", "3"],
      says: "--penalty som says gamma already; leave out --gamma",
    },
    {
      argv: ["inject", "models/mlp.onnx", "-o", "b.onnx", "--penalty", "none", "--penalty", "so"],
      says: "--penalty none means no penalty at all; leave out --penalty so",
    },
    {
      argv: ["inject", "models/mlp.onnx", "-o", "b.onnx", "--penalty", "so", "--penalty", "so"],
      says: 'layer "fc1" would get the penalty so twice',
    },
    { argv: ["train", "a.onnx", "-o", "b.onnx", "--data", "mnist", "--epochs", "-1"], says: "whole number" },
    { argv: ["train", "a.onnx", "-o", "b.onnx", "--data", "mnist", "--batch", "0"], says: "1 or more" },
    { argv: ["step", "a.onnx", "-o", "b.onnx", "--split", "--loop"], says: "either --split or --loop" },
    {
      argv: ["train", "a.onnx", "-o", "b.onnx", "--data", "mnist", "--steps-per-run", "0"],
      says: "1 or more",
    },
    { argv: ["grad", "a.onnx", "-o", "b.onnx", "--dim", "seq"], says: "NAME=SIZE" },
  ])("$argv: exit 2 and one line", async ({ argv, says }) => {
    const { code, stdout, stderr } = await cli(...argv);
    expect(stderr).toContain(says);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  });

  it("lists every penalty with its options in the help of commands that take them", async () => {
    for (const command of ["inject", "train", "step", "artifacts"]) {
      const { code, stdout } = await cli(command, "--help");
      expect(code).toBe(0);
      // Examples stand behind it, in lines to copy.
      const [list = ""] = stdout.slice(stdout.indexOf("\nPenalties, with the defaults")).split("\nExamples");
      for (const name of penaltyNames) expect(list).toMatch(new RegExp(`^  ${name} `, "m"));
      expect(list).toMatch(/weight=1,\s+s=0,\s+half=false/);
      expect(Math.max(...list.split("\n").map(({ length }) => length))).toBeLessThanOrEqual(80);
    }
  });

  it("says where an error was thrown only with --debug", async () => {
    const plain = await cli("inspect", "nowhere.onnx");
    const debug = await cli("inspect", "nowhere.onnx", "--debug");
    expect(plain.stderr).not.toContain("at ");
    expect(debug.stderr.startsWith(plain.stderr)).toBe(true);
    expect(debug.stderr).toMatch(/^ +at .*\.ts:\d+/m);
  });

  it("reports an error nobody expected in one line too", async () => {
    let stderr = "";
    const broken = {
      write: () => {
        throw new TypeError("first\nsecond");
      },
    };
    const code = await run(["inspect", "models/mlp.onnx"], {
      stdout: broken,
      stderr: { write: (text) => (stderr += text) },
    });
    expect(code).toBe(1);
    expect(stderr).toBe("unexpected error: first second (run with --debug to see where)\n");
  });

  it.each([
    ["uv_cwd", "ENOENT", "the current folder was deleted; change to another one"],
    ["open", "EMFILE", "cannot use a file: too many files are open (ulimit -n)"],
  ])("says of an error of the system's %s what is wrong", async (syscall, code, message) => {
    let stderr = "";
    const write = () => {
      throw Object.assign(new Error(`${code}: ${syscall}`), { syscall, code });
    };
    const streams = { stdout: { write }, stderr: { write: (text: string) => (stderr += text) } };
    expect(await run(["inspect", "models/mlp.onnx"], streams)).toBe(1);
    expect(stderr).toBe(`error: ${message}\n`);
  });
});

import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wholeProgram } from "../../src/cli/program.ts";
import { npz } from "./npz.ts";
import { refusedCalls } from "./refused-calls.ts";
import { cli, snapshot, temporaryFolder } from "./run-cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);

beforeAll(async () => {
  copyFileSync("models/mlp.onnx", at("m.onnx"));
  copyFileSync("test/fixtures/official/mlp/checkpoint", at("checkpoint"));
  writeFileSync(
    at("d.npz"),
    npz(16, [1, 28, 28], (index) => index % 10),
  );
  await cli("inject", at("m.onnx"));
});
afterAll(() => folder.remove());

/** Options that no refused call has: each always acts, or says itself when it does not. */
const acting: Readonly<Record<string, string>> = {
  "--output": "every file is written somewhere",
  "--force": "names what may be replaced",
  "--config": "gives other flags, of which an unknown one is an error",
  "--quiet": "a call without remarks is as quiet",
  "--debug": "shows where an error was thrown, should there be one",
  "--json": "the form of the figures",
  "--html": "writes a page",
  "--data": "names the samples; unknown kinds are refused (data.test.ts)",
  "--min": "the first rate of find-lr",
  "--max": "must be above --min (find-lr.test.ts)",
  "--steps": "of find-lr",
  "--rounds": "of bench",
  "--round-time": "of bench",
  "--profile": "adds a table",
  "--port": "of demo",
  "--full": "measures all pairs, where fewer are measured otherwise",
  "--per-site": "adds an output for each layer",
  "--op": "of tap; what matches nothing is refused (tap.test.ts)",
  "--budget": "of verify; 0 checks all",
  "--worst": "0 lists none",
  "--raw": "refused for a run without an average (below)",
  "--workers": "must divide the batch (distribute.test.ts)",
  "--recompute": "says how many activations it computes again",
  "--accumulate": "says where no update falls into the run (groups.test.ts)",
  "--adapter-from": "an adapter of other layers is refused (test/adapters)",
  "--validation": "holds samples out",
};

/** The options of each command that neither a refused call names nor {@link acting}. */
async function unexamined(): Promise<string[]> {
  const { commands } = await wholeProgram({ stdout: { write() {} }, stderr: { write() {} } });
  const tried = new Set(refusedCalls.flatMap(([words]) => words.map((word) => word.split("=")[0])));
  return commands.flatMap((command) =>
    command.options.flatMap(({ long }) =>
      tried.has(long ?? "") || Object.hasOwn(acting, long ?? "") ? [] : [`${command.name()} ${long}`],
    ),
  );
}

describe("flags", () => {
  it("are all looked at: when has an option no effect, and what does the call say then?", async () => {
    expect(await unexamined()).toEqual([]);
  });

  it("of an export are refused where the run has nothing that they change", async () => {
    const made = await cli(
      "train",
      at("m.onnx"),
      "--data",
      at("d.npz"),
      "--batch",
      "8",
      "--no-report",
      "-o",
      at("t.onnx"),
    );
    expect(made.code).toBe(0);
    const said = async (flag: string) => (await cli("export", at("t.run"), "-o", at("e.onnx"), flag)).stderr;
    expect(await said("--raw")).toMatch(/the run keeps no average of its weights/);
    expect(await said("--keep-penalty")).toMatch(/--keep-penalty\) has no effect: no penalty was injected/);
  });

  it("of a step, whose loop feeds the penalty's weight, are told", async () => {
    const step = (...flags: string[]) =>
      cli("step", at("m.onnx"), "--batch", "8", "--force", "-o", at("s.onnx"), ...flags);
    expect((await step("--weight", "3")).stderr).toMatch(/your loop feeds penalty_weight, .* weight: 3$/m);
    expect((await step("--penalty", "none")).stderr).not.toContain("penalty_weight");
  });

  it.each(refusedCalls)("%j is refused", async (argv, says) => {
    const before = snapshot(folder.path);
    const files = ["m.onnx", "m.sorth.onnx", "d.npz", "checkpoint"];
    const { code, stdout, stderr } = await cli(
      ...argv.map((word) => (files.includes(word) ? at(word) : word)),
    );
    expect(stderr).toMatch(says);
    expect(stderr.trimEnd()).not.toContain("\n");
    expect([code, stdout]).toEqual([2, ""]);
    expect(snapshot(folder.path)).toEqual(before);
  });
});

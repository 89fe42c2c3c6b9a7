import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parsedJson } from "../../src/json.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { type Line, missingPython, PythonRuns, python, sorth, start } from "./python-runs.ts";

const runs = new PythonRuns();
const { at, runPython } = runs;
const data = ["--data", at("data.npz")];
/** The functions of the package that write files, each followed line by line. */
const writers = {
  checkpoints: ["write_safely", "copy_safely", "write_tensors", "_remove_leftovers"],
  run_folder: ["flush", "__init__", "check_new", "begin", "_share", "release"],
  export: ["write", "_data", "_carry", "_pieces"],
};
/** Lines from one place where a run dies to the next; a prime number, so that loops are met at all of their lines. */
const stride = Number(process.env.SORTH_KILLS_EVERY ?? 97);

beforeAll(() => runs.begin());
afterAll(() => runs.remove());

/** A program that counts the lines of the writers that it reaches, and dies before one of them (`DIES_AT`); else it says their number. */
function dyingProgram(folder: string): string {
  const program = at("dies-at.py");
  const text = `
import os, signal, sys, threading
sys.path.insert(0, ${JSON.stringify(folder)})
from pathlib import Path
from sorth_distributed import command

WRITERS = ${JSON.stringify(writers)}
dies_at, reached = int(os.environ["DIES_AT"]), 0

def line(frame, event, argument):
    global reached
    if event == "line":
        reached += 1
        if reached == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
    return line

def call(frame, event, argument):
    code = frame.f_code
    names = WRITERS.get(Path(code.co_filename).stem, []) if "sorth_distributed" in code.co_filename else []
    return line if code.co_name in names else None

sys.settrace(call)
code = command.main(Path(${JSON.stringify(folder)}))
sys.settrace(None)
print(reached)
sys.exit(code)
`;
  writeFileSync(program, text);
  return program;
}

/** The losses of `run.jsonl`: of a step that was done again, the last one. Half a line, which a killed process leaves, is none. */
function lossesOf(run: string): number[] {
  const losses = new Map<number, number>();
  for (const text of readFileSync(at(`${run}/run.jsonl`), "utf8").split("\n")) {
    const line = parsedJson(text) as Line | undefined;
    if (line?.event === "step") losses.set(line.step, line.loss);
  }
  return [...losses.values()];
}

describe("a run that is killed while it writes", () => {
  skipWithout(missingPython);

  it("goes on from what is whole, and ends in the same model, wherever it dies", async () => {
    const run = ["--batch", "16", "--penalty", "som", "--lr", "0.01", "--epochs", "2", "--seed", "3"];
    await sorth("distribute", at("model.onnx"), ...run, "-o", at("dist"), "--workers", "1", "--quiet");
    const program = dyingProgram(at("dist"));
    const common = [...data, "--save-every", "2", "--validation", "0.25"];
    const begin = (name: string) => [...common, "--checkpoint", `${name}.run`, "-o", `${name}.onnx`];
    const die = (name: string, place: number) => {
      const env = { ...process.env, DIES_AT: `${place}` };
      return start(python, [program, "--quiet", ...begin(name)], { cwd: runs.path, env });
    };
    const places = Number((await die("whole", 0)).stdout.trim().split("\n").at(-1));
    expect(places).toBeGreaterThan(300);
    const whole = readFileSync(at("whole.onnx"));
    for (let place = 1; place <= places; place += stride) {
      const name = `at-${place}`;
      expect(await die(name, place).catch(({ signal }) => signal), name).toBe("SIGKILL");
      const saved = existsSync(at(`${name}.run/last.safetensors`));
      const further = [...common, "--resume", `${name}.run`, "-o", `${name}.onnx`];
      await runPython("dist", 1, ...(saved ? further : begin(name)), "--force");
      expect(readFileSync(at(`${name}.onnx`)).equals(whole), name).toBe(true);
      expect(lossesOf(`${name}.run`), name).toEqual(lossesOf("whole.run"));
    }
  }, 900_000);
});

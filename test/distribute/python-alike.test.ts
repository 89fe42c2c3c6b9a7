import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { npz } from "../cli/npz.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { missingPython, PythonRuns, python, sorth, standalone, start } from "./python-runs.ts";

const runs = new PythonRuns();
const { at } = runs;

// What the first process reads and what the second, as on two machines; $RANK is its number.
beforeAll(async () => {
  await runs.begin();
  const label = (index: number) => index % 3;
  for (const [rank, samples] of [96, 70].entries()) {
    writeFileSync(at(`size${rank}.npz`), npz(samples, [6], label));
    writeFileSync(
      at(`same${rank}.npz`),
      npz(96, [6], (index) => (index === 5 ? rank : label(index))),
    );
  }
  await sorth(
    "distribute",
    at("model.onnx"),
    "--batch",
    "16",
    "-o",
    at("graphs0"),
    "--workers",
    "2",
    "--quiet",
  );
  cpSync(at("graphs0"), at("graphs1"), { recursive: true });
  const contract = JSON.parse(readFileSync(at("graphs1/contract.json"), "utf8"));
  writeFileSync(at("graphs1/contract.json"), JSON.stringify({ ...contract, learningRate: 0.5 }));
});
afterAll(() => runs.remove());

/** Two processes under torchrun, of which each does these words. */
async function both(words: string): Promise<void> {
  const each = ["--no-python", "bash", "-c", `exec ${python} ${words} --quiet`];
  await start(python, [...standalone, "--nproc-per-node", "2", ...each], { cwd: runs.path });
}

describe("processes on two machines", () => {
  skipWithout(missingPython);

  it("need the folder of the trained model where the first one runs, which writes it", async () => {
    mkdirSync(at("out0"));
    await both("graphs0/run.py --data data.npz --max-steps 1 -o out$RANK/trained.onnx");
    expect(existsSync(at("out0/trained.onnx"))).toBe(true);
  }, 120_000);

  it.each([
    { words: "graphs0/run.py --data size$RANK.npz", said: "process 1 has other data than process 0" },
    { words: "graphs0/run.py --data same$RANK.npz", said: "process 1 has other data than process 0" },
    {
      words: "graphs0/run.py --data data.npz --max-steps $((RANK + 2))",
      said: "has other flags than process 0",
    },
    { words: "graphs$RANK/run.py --data data.npz", said: "has another folder of graphs than process 0" },
  ])(
    "refuse to begin where they would do different runs: $words",
    async ({ words, said }) => {
      await expect(both(words)).rejects.toThrow(said);
    },
    120_000,
  );
});

import { mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { temporaryFolder } from "../cli/run-cli.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { missingPython, python, start } from "./python-runs.ts";

const { path, remove } = temporaryFolder();
afterAll(remove);

/** Calls functions of the workers' package one after another. @returns what each answers: its error for users, or "done" */
async function answers(...calls: readonly string[]): Promise<string[]> {
  const lines = [
    "import json, sys",
    'sys.path.insert(0, "python")',
    "from pathlib import Path",
    "from sorth_distributed import checkpoints, contract, flower",
    "from sorth_distributed.errors import RunError",
    "from sorth_distributed.position import Position",
    "def answer(call):",
    "    try:",
    "        call()",
    '        return "done"',
    "    except (RunError, ValueError, KeyError, TypeError) as error:",
    '        return f"{type(error).__name__}: {error}"',
    `folder = Path(${JSON.stringify(path)})`,
    "sys.path.insert(0, str(folder))",
    `print(json.dumps([answer(call) for call in [${calls.map((call) => `lambda: ${call}`).join(", ")}]]))`,
  ];
  return JSON.parse((await start(python, ["-c", lines.join("\n")])).stdout);
}

/** A safetensors file with a header as text, and 8 bytes of numbers. */
function safetensors(name: string, header: string): void {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(`${path}/${name}`, Buffer.concat([length, Buffer.from(header), Buffer.alloc(8)]));
}

const tensor = (from: number, to: number) => `{"dtype":"F32","shape":[1],"data_offsets":[${from},${to}]}`;

describe("what Python workers refuse, in one line", () => {
  skipWithout(missingPython);

  it("checkpoints whose tensors share bytes or are nested without end; contracts and positions without sense", async () => {
    safetensors("sound", `{"a":${tensor(0, 4)},"b":${tensor(4, 8)}}`);
    safetensors("shared", `{"a":${tensor(0, 4)},"b":${tensor(0, 4)}}`);
    safetensors("deep", "[".repeat(1e5));
    const contract = { format: "sorth-onnx/distribute", version: 1, batch: 4, learningRate: 1 };
    const contracts = { list: [], zero: { ...contract, shards: 0 }, bare: { ...contract, shards: 1 } };
    for (const [name, content] of Object.entries(contracts)) {
      mkdirSync(`${path}/${name}`);
      writeFileSync(`${path}/${name}/contract.json`, JSON.stringify(content));
    }
    const position = { step: 1, counted: 1, loss: 1, penalty: 0 };
    const at = (fields: object) =>
      `Position.from_text(${JSON.stringify(JSON.stringify({ ...position, ...fields }))})`;
    const files = ["sound", "shared", "deep"].map((name) => `checkpoints.read_tensors(folder / "${name}")`);
    const folders = Object.keys(contracts).map((name) => `contract.load(folder / "${name}")`);
    const positions = [{}, { step: -5 }, { history: [5] }, { loss: "x" }].map(at);
    const said = await answers(...files, ...folders, ...positions);
    const wanted = [
      ...["done", "RunError: .* where the one before it ends", "RunError: .* a damaged one"],
      ...["RunError: .* not written by", "RunError: .* 4 in 0 shards", "RunError: .* is damaged"],
      ...["done", "ValueError: its counts", "TypeError", "ValueError: its loss"],
    ];
    for (const [i, one] of wanted.entries()) expect(said[i]).toMatch(new RegExp(`^${one}`));
  });

  it("a package of a version that lacks what is called, by both versions", async () => {
    mkdirSync(`${path}/flwr`);
    mkdirSync(`${path}/flwr-1.4.0.dist-info`);
    writeFileSync(`${path}/flwr/__init__.py`, "");
    writeFileSync(
      `${path}/flwr-1.4.0.dist-info/METADATA`,
      "Metadata-Version: 2.1\nName: flwr\nVersion: 1.4.0\n",
    );
    expect(await answers("flower._flower()")).toEqual([
      `RunError: flwr 1.4.0 cannot be used here (No module named 'flwr.client'): pip install "flwr[simulation]==1.42.0"`,
    ]);
  });

  it("what a killed worker left of a checkpoint goes with the next one, under the same names as in node", async () => {
    const left = `.last.safetensors.${2 ** 22 + 1}-0a1b2c3d.tmp`;
    const alive = `.last.safetensors.${process.pid}-0a1b2c3d.tmp`;
    for (const name of [left, alive]) {
      writeFileSync(`${path}/${name}`, "x");
      utimesSync(`${path}/${name}`, 1, 1);
    }
    expect(await answers('checkpoints.write_safely(folder / "last.safetensors", [b"whole"])')).toEqual([
      "done",
    ]);
    expect(readdirSync(path).filter((name) => name.includes("last"))).toEqual([alive, "last.safetensors"]);
  });
});

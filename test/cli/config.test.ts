import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { withConfig } from "../../src/cli/config/flags.ts";
import { flagTexts } from "../../src/cli/config/values.ts";
import { declare } from "../../src/cli/train-call.ts";
import { eventsIn } from "../report/event-reader.ts";
import { npz } from "./npz.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const home = process.cwd();
const file = (name: string, text: string) => {
  writeFileSync(at(name), text);
  return name;
};

beforeAll(() => {
  copyFileSync("models/mlp.onnx", at("model.onnx"));
  writeFileSync(
    at("data.npz"),
    npz(40, [1, 28, 28], (index) => index % 10),
  );
  process.chdir(folder.path);
});
afterAll(() => {
  process.chdir(home);
  folder.remove();
});

/** The same run twice: typed, and as a configuration with lists and nested options. */
const typed = [
  ...["train", "model.onnx", "--data", "data.npz", "--epochs", "2", "--validation", "0.2", "--batch", "4"],
  ...["--threads", "1", "--optimizer", "sgd:momentum=0.9,nesterov=true", "--lr", "0.002"],
  ...["--schedule", "cosine:warmup=4", "--penalty", "so:weight=0.01,include=fc1", "--penalty", "som"],
  ...["--freeze", "fc2.bias", "--freeze", "^logits", "--seed", "5", "--no-report", "--from", "best"],
  ...["--class-weights", "1,2,1,1,1,1,1,1,1,1"],
];
const configured = `
model: model.onnx
data: data.npz
epochs: 2
validation: 0.2
batch: 4
threads: 1
optimizer: { sgd: { momentum: 0.9, nesterov: true } }
lr: 2e-3
schedule: { name: cosine, warmup: 4 }
penalty:
  - { name: so, weight: 0.01, include: fc1 }
  - som
freeze: [fc2.bias, ^logits]
seed: 1          # the command line overrides it
report: false
from: best
classWeights: [1, 2, 1, 1, 1, 1, 1, 1, 1, 1]
`;

describe("--config", () => {
  it("repeats a run to the bit: from the file beside it, and from one by hand", async () => {
    expect(await cli(...typed, "--tensorboard", "logs", "-o", "typed.onnx")).toMatchObject({ code: 0 });
    expect(eventsIn("logs").filter(({ scalars }) => "train/loss" in scalars)).toHaveLength(16);
    expect(eventsIn("logs").filter(({ scalars }) => "validation/loss" in scalars)).toHaveLength(2);
    const first = readFileSync(at("typed.onnx"));
    const written = readFileSync(at("typed.run/config.yaml"), "utf8");
    expect(parse(written)).toMatchObject({
      ...{ model: "model.onnx", data: "data.npz", epochs: 2, lr: 0.002, seed: 5, backend: "cpu" },
      ...{
        penalty: ["so:weight=0.01,include=fc1", "som"],
        freeze: ["fc2.bias", "^logits"],
        "no-report": true,
      },
    });
    const files = ["typed.run/config.yaml", file("own.yaml", configured)];
    for (const [i, config] of files.entries()) {
      const call = ["train", "--config", config, "-o", `${i}.onnx`, "--seed", "5"];
      expect(await cli(...call)).toMatchObject({ code: 0 });
      expect(readFileSync(at(`${i}.onnx`)).equals(first)).toBe(true);
      expect(parse(readFileSync(at(`${i}.run/config.yaml`), "utf8"))).toEqual(parse(written));
    }
    // Defaults are written too, and a resumed run reads the words of the first call.
    const short = ["model.onnx", "--data", "data.npz", "--batch", "8", "--max-steps", "2", "--no-report"];
    await cli("train", ...short);
    expect(parse(readFileSync(at("model.trained.run/config.yaml"), "utf8"))).toEqual({
      ...{ model: "model.onnx", data: "data.npz", epochs: 1, "max-steps": 2, backend: "cpu" },
      ...{ "no-report": true, batch: 8, penalty: "som", optimizer: "adamw", lr: 0.001, seed: 0 },
    });
    // What a run leaves out, and would be refused: a penalty of adapters without one, the learning rate beside groups with their own.
    for (const own of [
      ["--lora", "ia3=true"],
      ["--group", ".:lr=0.02"],
    ]) {
      await cli("train", ...short, ...own, "-o", "own.onnx", "--force");
      const again = await cli("train", "--config", "own.run/config.yaml", "-o", "again.onnx", "--force");
      expect(again).toMatchObject({ code: 0 });
      expect(readFileSync(at("again.onnx")).equals(readFileSync(at("own.onnx")))).toBe(true);
    }
    const more = await cli("train", "--resume", "0.run", "--epochs", "3", "--force", "--json");
    expect(JSON.parse(more.stdout)).toMatchObject({
      epoch: 3,
      output: at("0.onnx").slice(folder.path.length + 1),
    });
  });

  it("is taken by every command; what is typed goes before it", async () => {
    const options = { model: "model.onnx", objective: "mse", batch: 2, wrt: "fc1", output: "not.onnx" };
    file("grad.json", JSON.stringify(options));
    const { code, stderr } = await cli("grad", "--config=grad.json", "-o", "g.onnx", "--wrt", "fc2.weight");
    expect([code, stderr]).toEqual([0, expect.stringContaining("outputs: loss, fc2.weight_grad\n")]);
  });

  it.each([
    ["epoch: 3", /"c.yaml", line 1: train has no flag "epoch"; the nearest is "epochs"/],
    ["seed: 1\nlearning-rte: 3", /line 2: train has no flag "learning-rte"; the nearest is/],
    ["config: other.yaml", /line 1: train has no flag "config"/],
    ["epochs: 1.5", /line 1: epochs: "1.5" is invalid. Give a whole number of 1 or more/],
    ["epochs: [1, 2]", /line 1: epochs: "1,2" is invalid/],
    ["seed:", /line 1: "seed" has no value/],
    ["report: 3", /line 1: "report" is true or false, not 3/],
    ["backend: tpu", /line 1: backend: "tpu" is none of cpu/],
    ["max-steps: 3\nmaxSteps: 4", /line 2: "maxSteps" is given already, as "max-steps"/],
    ["seed: 1\nseed: 2", /"c.yaml", line 2: Map keys must be unique/],
    ["optimizer: { sgd: {}, adam: {} }", /"optimizer" takes one value, not 2/],
    ["- seed", /must hold one key for each flag/],
    ["seed: 1\nfreeze: &a [*a]", /line 2: "freeze" repeats itself without end/],
    [`freeze: &a [x, x]\ngroup: [${"*a,".repeat(200)}]`, /"group" repeats itself without end/],
    ["seed: 1\n  x: [", /"c.yaml", line \d: /],
  ])("refuses %j", async (text, says) => {
    const { code, stdout, stderr } = await cli("train", "model.onnx", "--config", file("c.yaml", text));
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(says);
    expect(stderr.trimEnd()).not.toContain("\n");
  });

  it("refuses a line of twenty thousand errors, whose places were drawn one after another", async () => {
    const text = `seed: 1\n${"optimizer: { lr: 1 }".repeat(20_000)}`;
    const { code, stderr } = await cli("train", "model.onnx", "--config", file("c.yaml", text));
    expect(code).toBe(2);
    expect(stderr).toMatch(/"c.yaml", line 2: Unexpected scalar at node end\n$/);
  });

  it.each([
    [["--config", "none.yaml"], /"none.yaml" cannot be read: .*no such file/],
    [["--config", "model.onnx"], /give a .yaml or .json file/],
    [["-o", "new.onnx", "--config"], /argument missing/],
    [["--resume", "typed.run", "--config", "own.yaml"], /resumed run .* leave out --config/],
    [[...typed.slice(1), "--tensorboard", "logs"], /"logs" already holds a run for TensorBoard/],
    [[...typed.slice(1), "--tensorboard", "model.onnx"], /it is a file; give --tensorboard a folder/],
  ])("refuses %j", async (flags, says) => {
    file("j.json", "{ seed: 1 }");
    const { code, stderr } = await cli(
      "train",
      ...flags,
      ...(flags.includes("-o") ? [] : ["-o", "new.onnx"]),
    );
    expect([code, stderr]).toEqual([2, expect.stringMatching(says)]);
    expect(await cli("train", "--config", "j.json")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("cannot be read"),
    });
  });

  it("drops what a typed flag excludes", () => {
    const words = (...typed: string[]) => {
      const command = new Command("train");
      declare(command);
      return withConfig(command.option("--config <file>"), ["--config", "s.yaml", ...typed]);
    };
    file("s.yaml", "seeds: [1, 2]\nepochs: 2\nearly-stop: false");
    expect(words()).toEqual(["--seeds=1,2", "--epochs=2", "--no-early-stop"]);
    expect(words("--seed", "3")).toEqual(["--epochs=2", "--no-early-stop", "--seed", "3"]);
    file("s.yaml", "seed: 1\nreport: true\nearly_stop: 3");
    expect(words("--seeds", "1,2")).toEqual(["--early-stop=3", "--seeds", "1,2"]);
  });

  it("reads values as a flag writes them", () => {
    const group = [
      { pattern: "bias$", "weight-decay": 0 },
      { pattern: "fc", lr: 0.1, "freeze-until": 9 },
    ];
    expect(flagTexts(group, true)).toEqual(["bias$:weight-decay=0", "fc:lr=0.1,freeze-until=9"]);
    expect(flagTexts({ rank: 8, alpha: 16 }, false)).toEqual(["rank=8,alpha=16"]);
    expect(flagTexts({ flip: true, crop: 0.1 }, false)).toEqual(["flip,crop=0.1"]);
    expect(flagTexts({ mean: [0.1, 0.2], std: 1 }, false)).toEqual(["mean=0.1/0.2,std=1"]);
    expect(flagTexts({ so: { include: "a,b" } }, true)).toEqual(["so:include='a,b'"]);
    expect(flagTexts({ length: 4, width: 2 }, true)).toEqual(["length=4", "width=2"]);
  });
});

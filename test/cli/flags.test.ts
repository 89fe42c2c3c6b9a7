import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { clippings, optimizerNames } from "../../src/optimizers/table.ts";
import { npz } from "./npz.ts";
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

const train = (...flags: string[]) => ["train", "m.onnx", "--data", "d.npz", "--batch", "8", ...flags];

/** Each call, and what its refusal says: no flag is taken without an effect. */
const refused: readonly (readonly [readonly string[], RegExp])[] = [
  // Numbers out of range.
  [train("--lr", "-1"), /'--lr <number>' argument '-1' is invalid. Give a number of 0 or more/],
  [train("--lr", "NaN"), /--lr .* Give a number of 0 or more/],
  [train("--lr", "1e999"), /--lr/],
  [train("--weight", "-0.5"), /--weight .* Give a number of 0 or more/],
  [train("--optimizer", "sgd", "--momentum", "1.5"), /--momentum .* at least 0 and below 1/],
  [train("--weight-decay", "-1"), /--weight-decay .* 0 or more/],
  [train("--gamma", "0"), /--gamma .* above 0/],
  [train("--lambda2", "-1"), /--lambda2 .* 0 or more/],
  [train("--epochs", "0"), /--epochs .* whole number of 1 or more/],
  [train("--epochs", "1.5"), /--epochs/],
  [train("--max-steps", "-3"), /--max-steps/],
  [train("--seed", "4294967296"), /--seed .* from 0 to 4294967295/],
  [train("--seed", "0.5"), /--seed/],
  [train("--validation", "1"), /--validation .* above 0 and below 1/],
  [train("--threads", "0"), /--threads/],
  [train("--penalty", "so:weight=-1"), /weight of the penalty so/],
  [["artifacts", "m.onnx", "--batch", "8", "--weight-decay", "-1"], /--weight-decay/],
  [["angles", "m.onnx", "--data", "d.npz", "--gamma", "-1"], /--gamma/],
  [train("--checkpoint-every", "0"), /--checkpoint-every .*Give block, or a whole number of 1 or more/],
  [train("--checkpoint-every", "9"), /--checkpoint-every 9\) has no effect: .* fewer than 9 places/],
  // Contradictions.
  [
    train("--objective", "mse", "--loss", "logits"),
    /objective or the name of the model's own loss, not both/,
  ],
  [["inject", "m.onnx", "--objective", "mse", "--loss", "logits", "--force"], /not both/],
  [["grad", "m.onnx", "--batch", "2", "--objective", "mse", "--loss", "logits"], /not both/],
  [train("--penalty", "none", "--weight", "1"), /--penalty none means no penalty at all; leave out --weight/],
  [train("--penalty", "none", "--penalty-schedule", "cosine"), /--penalty-schedule needs a penalty/],
  [
    train("--penalty", "so:weight=1", "--weight", "2"),
    /every --penalty gives its own weight; leave out --weight/,
  ],
  [train("--apply", "often"), /Allowed choices are loss, decoupled, retraction/],
  [train("--penalty", "none", "--apply", "decoupled"), /--apply decoupled\) has no effect: .* no penalty/],
  [train("--apply", "retraction"), /retraction .* som acts on responses: apply the penalty decoupled/],
  [
    ["step", "m.onnx", "--penalty", "so", "--apply", "retraction", "--split"],
    /leave .*--apply retraction\) out/,
  ],
  [["artifacts", "m.onnx", "--batch", "8", "--apply", "decoupled"], /unknown option '--apply'/],
  [["distribute", "m.onnx", "--batch", "8", "--penalty", "so", "--apply", "decoupled"], /leave .*--apply/],
  [
    ["distribute", "m.onnx", "--batch", "8", "--penalty", "so", "--share", "0.1"],
    /workers do not choose the penalty's weight/,
  ],
  [train("--share", "1"), /--share .* above 0 and below 1/],
  [train("--share", "0.1", "--weight", "1"), /'--share <number>' cannot be used with option '--weight/],
  [train("--penalty", "none", "--share", "0.1"), /--share\) has no effect: the run has no penalty/],
  [train("--straight-through"), /would have no effect: nothing in the model rounds/],
  [train("--schedule", "plateau"), /plateau follows the loss on held-out samples.*give --validation 0.1/],
  [train("--penalty-schedule", "plateau"), /plateau follows the loss on held-out samples/],
  [train("--penalty", "so:schedule=plateau"), /plateau follows the loss on held-out samples/],
  [train("--teacher", "m.onnx", "--objective", "cross-entropy"), /teacher would have no effect/],
  [train("--teacher", "m.onnx", "--loss", "logits"), /a teacher needs a loss that compares both models/],
  [train("--teacher", "m.onnx", "--label-smoothing", "0.1"), /--label-smoothing belongs to --objective/],
  [train("--teacher", "m.onnx", "--prediction", "logits", "--objective", "kl:labels=y"), /no effect/],
  [train("--objective", "distillation:alpha=0.5"), /alpha 0.5 .* give the teacher as a model \(--teacher/],
  [train("--objective", "distillation:alpha=0"), /alpha of the objective distillation must be above 0/],
  [train("--objective", "kl:teacher=logits"), /the loss kl reads a teacher, and there is none/],
  [["artifacts", "m.onnx", "--batch", "8", "--teacher", "m.onnx"], /unknown option '--teacher'/],
  [train("--nesterov"), /no option "nesterov"/],
  [train("--optimizer", "sgd", "--nesterov"), /nesterov needs a momentum/],
  [train("--batch-norm", "frozen", "--running-variance", "torch"), /frozen .*leave runningVariance/],
  [
    train("--precision", "half"),
    /there is no precision "half"; give one of float32, mixed, mixed-float16, mixed-bfloat16/,
  ],
  [train("--precision", "mixed-bfloat16:init-scale=2"), /scales no loss: leave out init-scale/],
  [train("--precision", "mixed:interval=2"), /precision mixed has no option "interval"; it has initScale/],
  [train("--precision", "mixed:backoff-factor=1"), /backoffFactor .* must be a number above 0 and below 1/],
  [["artifacts", "m.onnx", "--batch", "8", "--precision", "mixed"], /unknown option '--precision'/],
  // Flags without an effect.
  [train("--keep-penalty"), /--keep-penalty belongs to a model with an injected penalty/],
  [train("--allow-fallback"), /--allow-fallback belongs to --backend cuda and webgpu/],
  [train("--other-data"), /--other-data belongs to --resume/],
  [["train", "--resume", "nowhere.run"], /--resume "nowhere.run": there is no such folder/],
  [train("--ort-checkpoint", "c"), /--ort-checkpoint belongs to runs/],
  [train("--from", "best"), /--from best needs/],
  [train("--from", "worst"), /--from .* Give best, last, or epoch-N/],
  [
    train("--from", "epoch-9", "--keep", "1", "--epochs", "2", "--validation", "0.5"),
    /--from epoch-9: the run ends after step 2, and epoch 9 would end with step 9: raise --epochs/,
  ],
  [train("--from", "epoch-2"), /--from epoch-2 needs .* give --keep too/],
  [train("--early-stop", "2"), /--early-stop needs held-out samples: .*--validation 0.1/],
  [train("--early-stop", "0"), /--early-stop .* whole number of 1 or more/],
  [train("--no-early-stop"), /--no-early-stop belongs to --resume/],
  [train("--minimum-change", "1"), /--minimum-change belongs to --early-stop/],
  [train("--keep", "2"), /--keep needs held-out samples/],
  [train("--metrics", "f1"), /--metrics needs held-out samples/],
  [train("--validation", "0.5", "--metrics", "f3"), /no metric "f3"; there are accuracy, top5/],
  [train("--validation", "0.5", "--metrics", "r2"), /"r2" is not defined for the labels of cross-entropy/],
  [train("--validation", "0.5", "--metrics", "f1,top3,f1"), /"f1" is given twice/],
  [train("--monitor", "accuracy"), /--monitor needs held-out samples/],
  [
    train("--validation", "0.5", "--monitor", "beauty"),
    /no figure "beauty" to monitor: this run computes loss/,
  ],
  [train("--loss", "logits", "--prediction", "logits"), /prediction .* which an objective reads/],
  [
    ["grad", "m.onnx", "--batch", "2", "--loss", "logits", "--prediction", "logits"],
    /which an objective reads/,
  ],
  [["grad", "m.onnx", "--batch", "2", "--vjp", "--objective", "mse"], /no loss: leave --objective out/],
  [["grad", "m.onnx", "--batch", "2", "--vjp", "--jacobian"], /--vjp and --jacobian are two graphs/],
  [["grad", "m.onnx", "--batch", "2", "--loss", "logits", "--of", "fc1"], /--of\) belong to --vjp/],
  [["tap", "m.onnx"], /say which inner values become outputs: --include/],
  [["tap", "m.onnx", "--list", "--include", "fc1"], /--list prints all values .* leave out --include/],
  [["tap", "m.onnx", "--include", "fc1", "--json"], /--json belongs to --list/],
  [["tap", "m.onnx", "--include", "fc1", "--limit", "0"], /--limit .* whole number of 1 or more/],
  [["inject", "m.onnx", "--prediction", "logits", "--force"], /without an objective/],
  [["inject", "m.onnx", "--labels", "classes", "--force"], /--labels belongs to --objective cross-entropy$/m],
  [
    ["inject", "m.onnx", "--objective", "bce", "--class-axis", "last", "--force"],
    /--class-axis belongs to --objective cross-entropy, kl and distillation, not to bce/,
  ],
  [
    ["inject", "m.onnx", "--objective", "hinge", "--force"],
    /no objective "hinge"; there are cross-entropy, mse, l1, bce/,
  ],
  [
    ["train", "m.sorth.onnx", "--data", "d.npz", "--batch", "8", "--include", "fc1", "--gamma", "3"],
    /injected penalty .* leave out --gamma, --include/,
  ],
  [
    ["step", "m.sorth.onnx", "--batch", "8", "--reduction", "sum"],
    /injected penalty .* leave out --reduction/,
  ],
  [["artifacts", "m.sorth.onnx", "--batch", "8", "--weight", "2"], /injected penalty .* leave out --weight/],
  [
    ["artifacts", "m.onnx", "--batch", "8", "--optimizer", "sgd", "--weight-decay", "0.1"],
    /sgd of the artifacts has no options: leave out weightDecay/,
  ],
  ...["--lr", "--schedule", "--penalty-schedule", "--seed", "--threads"].map(
    (flag) =>
      [["step", "m.onnx", "--batch", "8", flag, "1"], new RegExp(`unknown option '${flag}'`)] as const,
  ),
  [["angles", "m.onnx", "--samples", "9"], /response angles need --data: give it, or leave out --samples/],
  [["angles", "m.onnx", "--gamma", "9"], /leave out --gamma/],
  [["angles", "m.onnx", "--json", "--csv"], /--json or --csv, not both/],
  [
    ["inspect", "checkpoint", "--batch", "3", "--freeze", "a"],
    /to which these flags do not apply: leave out --freeze, --batch/,
  ],
  [["step", "m.onnx", "--batch", "8", "--split", "--loop"], /either --split or --loop/],
  [train("--group", "fc1"), /--group .* Give pattern:lr=0.01,weight-decay=0,freeze-until=100/],
  [train("--group", "fc1:rate=1"), /"rate=1" is no setting of a group: give lr, weight-decay, freeze-until/],
  [train("--group", "fc1:lr=-1"), /Give a number of 0 or more/],
  [train("--group", "fc1:lr=1,lr=2"), /gives lr twice/],
  [train("--group", "(:lr=1"), /not a regular expression/],
  [train("--group", "fc9:lr=1"), /--group fc9 matches no trained parameter; near it: fc/],
  [train("--group", "fc:lr=1", "--group", "fc1:lr=2"), /group fc1 .*groups before it/],
  [train("--no-decay", "--optimizer", "sgd"), /no-decay\) has no effect: the optimizer has no weight decay/],
  [train("--ema", "1"), /--ema .* at least 0 and below 1/],
  [train("--ema", "0.9", "--swa", "3"), /either ema \(--ema\) or swa \(--swa\)/],
  [train("--swa", "3:each=2"), /no "each" here; give start:every=steps/],
  [train("--no-update-bn"), /--no-update-bn belongs to --swa/],
  [train("--swa", "0.5"), /--swa .* whole number of 1 or more/],
  ...clippings.flatMap(({ flag }) => [
    ...["0", "-1", "much"].map(
      (value) =>
        [
          ["step", "m.onnx", "--batch", "8", `--${flag}`, value],
          /is invalid. Give a number above 0/,
        ] as const,
    ),
    [["artifacts", "m.onnx", `--${flag}`, "1"], new RegExp(`--${flag} has no place in artifacts`)] as const,
  ]),
  ...optimizerNames
    .filter((name) => !["adamw", "sgd"].includes(name))
    .map((name) => [["artifacts", "m.onnx", "--optimizer", name], /Allowed choices are adamw, sgd/] as const),
  [
    ["step", "m.onnx", "--optimizer", "shampoo"],
    /there is no optimizer "shampoo"; there are adamw, adam, sgd/,
  ],
  [["step", "m.onnx", "--optimizer", "adamw:beta=1"], /the optimizer adamw has no option "beta"/],
  [["step", "m.onnx", "--optimizer", "lion:beta1"], /"beta1" in "lion:beta1" is no option: write key=value/],
  [["step", "m.onnx", "--optimizer", "adamw:beta1=half"], /option beta1 .* must be a number, not half/],
  [["step", "m.onnx", "--optimizer", "sgd:nesterov=yes"], /option nesterov .* must be a boolean, not yes/],
  [
    ["step", "m.onnx", "--optimizer", "sgd:weight-decay=0.1", "--weight-decay", "0.2"],
    /gives weightDecay already; leave out --weight-decay/,
  ],
  [["step", "m.onnx", "--momentum", "0.9"], /the optimizer adamw has no option "momentum"/],
];

describe("flags", () => {
  it.each(refused)("%j is refused", async (argv, says) => {
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

import type { Command } from "commander";
import { differentiate, readModel, writeModel } from "../../index.ts";
import { checkIsNoData } from "../../onnx/files-node.ts";
import { withLossFiles } from "../loss-files.ts";
import { addLossFlags, type LossFlags, lossOptionsOf } from "../loss-flags.ts";
import { given, patterns, repeated } from "../options.ts";
import { addOutputFlag, chosenOutput, type OutputFlags, outputBeside } from "../output.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, OutputFlags, LossFlags {
  readonly wrt?: RegExp;
  readonly wrtInputs?: RegExp;
  readonly vjp?: true;
  readonly jvp?: true;
  readonly jacobian?: true;
  readonly of?: string[];
}

/** `grad`: writes the gradient of a loss, or products with a Jacobian, as a model. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model");
  addOutputFlag(command, "grad", "where to write the model that computes the loss and its gradients");
  command
    .option(
      "--wrt <pattern>",
      "only the gradients of what matches: parameters, or other initializers; inputs and inner values by their whole name, '^relu5$'",
      patterns,
    )
    .option("--wrt-inputs <pattern>", "also gradients of the model's inputs whose name matches", patterns)
    .option(
      "--vjp",
      "no loss: the gradient of each output is an input <output>_seed (vector-Jacobian products, as torch.func.vjp)",
    )
    .option(
      "--jvp",
      "no loss: inputs <variable>_tangent, outputs <output>_tangent (Jacobian-vector products, as torch.func.jvp)",
    )
    .option(
      "--jacobian",
      "no loss: outputs <variable>_jacobian, all derivatives of a small output (as torch.func.jacrev)",
    )
    .option(
      "--of <name>",
      "with --vjp, --jvp and --jacobian: the output or inner value to differentiate; repeatable (default: all outputs of floats)",
      repeated((text) => text),
    );
  addLossFlags(command, "batch size, if the model leaves it open");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const output = await chosenOutput(flags, outputBeside(path, "grad"), terminal.write);
    const original = await readModel(path);
    await checkIsNoData(output, original);
    const { wrt, wrtInputs, vjp, jvp, jacobian, of } = flags;
    const { model, seeds, tangents, masks } = await differentiate(original, {
      ...lossOptionsOf(await withLossFiles(flags)),
      ...given({ wrt, wrtInputs, vjp, jvp, jacobian, of }),
      onMessage: (message) => terminal.note(message),
    });
    await writeModel(model, output, terminal.write);
    await terminal.wrote(path, output);
    const outputs = model.proto.graph?.output ?? [];
    terminal.note(`outputs: ${outputs.map(({ name }) => name).join(", ")}`);
    const added = [...seeds.values(), ...tangents.values()];
    if (added.length > 0) terminal.note(`inputs to feed: ${added.join(", ")}`);
    if (masks.size > 0) terminal.note(`Dropout masks to feed: ${[...masks.keys()].join(", ")}`);
  });
}
